/** A channel: what is delivered, what is recovered, who is there and who types. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage, errorOf, heard, said, settle } from "./stage.mjs";

const LOBBY = "chat:lobby";
const BOB = { connection: "c2", user: "bob" };
const EVE = { connection: "c3" };

/** A stage whose line is open. */
async function opened(options) {
  const stage = new Stage(options);
  await stage.open();
  return stage;
}

test("a channel is one object until it is left", async () => {
  const { line, socket } = await opened();
  const chat = line.subscribe(LOBBY, { last: 5 });
  assert.equal(line.subscribe(LOBBY), chat);
  assert.equal(chat.name, LOBBY);
  assert.deepEqual(socket.sent, [{ id: 1, type: "$subscribe", channel: LOBBY, last: 5 }]);
  chat.unsubscribe();
  assert.notEqual(line.subscribe(LOBBY), chat);
  assert.deepEqual(socket.sent.map(({ type }) => type), ["$subscribe", "$unsubscribe", "$subscribe"]);
});

test("ready comes with the first good reply", async () => {
  const stage = new Stage();
  const chat = stage.line.subscribe(LOBBY);
  await stage.open();
  stage.socket.reply("$subscribe", { channel: LOBBY, position: "e.10", publications: [] });
  assert.deepEqual(await chat.ready, { position: "e.10", recovered: undefined });
});

test("a refusal is told, and the next subscribe asks anew", async () => {
  const { line, socket } = await opened();
  const chat = line.subscribe(LOBBY);
  const errors = heard(chat, "$error");
  socket.refuse("$subscribe", { code: "forbidden" });
  assert.equal((await errorOf(chat.ready)).code, "forbidden");
  assert.equal(errors[0].code, "forbidden");
  assert.notEqual(line.subscribe(LOBBY), chat);
});

test("a refusal for now is asked again until it is good", async () => {
  const stage = await opened();
  const chat = stage.line.subscribe(LOBBY);
  for (const ms of [500, 1000, 2000]) {
    stage.socket.refuse("$subscribe", { code: "unavailable", retry: true });
    await stage.clock.advance(ms - 1);
    assert.deepEqual(stage.socket.sent, []);
    await stage.clock.advance(1);
  }
  stage.socket.reply("$subscribe", { position: "e.10", publications: [] });
  await chat.ready;
});

test("leaving before the answer rejects ready and delivers nothing", async () => {
  const { line, socket } = await opened();
  const chat = line.subscribe(LOBBY, { last: 5 });
  const messages = heard(chat);
  chat.unsubscribe();
  socket.reply("$subscribe", { position: "e.10", publications: [said(LOBBY, 9)] });
  socket.receive(said(LOBBY, 11));
  assert.equal((await errorOf(chat.ready)).code, "closed");
  assert.deepEqual(messages, []);
});

test("a name that cannot be sent is refused, and the line goes on", async () => {
  const stage = await opened();
  const bad = stage.line.subscribe("chat:\ud800");
  assert.equal((await errorOf(bad.ready)).code, "bad_payload");
  stage.line.subscribe("chat:\ud801").unsubscribe();
  stage.join(LOBBY);
});

test("what the reply brings goes to the same handlers as what is live, marked as recovered", async () => {
  const stage = await opened();
  const chat = stage.line.subscribe(LOBBY, { last: 2 });
  const seen = [];
  chat.on("message", (payload, { position, recovered, from }) => seen.push([payload, position, recovered, from]));
  const publications = [said(LOBBY, 8), said(LOBBY, 9)];
  stage.socket.reply("$subscribe", { position: "e.10", publications });
  stage.socket.receive(said(LOBBY, 11));
  assert.deepEqual(seen, [
    [8, "e.8", true, { connection: "c2" }],
    [9, "e.9", true, { connection: "c2" }],
    [11, "e.11", undefined, { connection: "c2" }],
  ]);
});

test("what came before the reply is not for this subscription", async () => {
  const stage = await opened();
  const chat = stage.line.subscribe(LOBBY);
  const messages = heard(chat);
  stage.socket.receive(said(LOBBY, 9));
  stage.socket.reply("$subscribe", { position: "e.10", publications: [] });
  stage.socket.receive(said(LOBBY, 11));
  assert.deepEqual(messages, [11]);
});

test("pages are asked for until there are no more, and only then is it live", async () => {
  const { line, socket } = await opened();
  const chat = line.subscribe(LOBBY, { since: "e.1" });
  const messages = heard(chat);
  assert.equal(socket.sent[0].since, "e.1");
  socket.reply("$subscribe", { position: "e.5", more: true, publications: [said(LOBBY, 2), said(LOBBY, 5)] });
  assert.equal(socket.sent[0].since, "e.5");
  socket.reply("$subscribe", { position: "e.9", more: true, publications: [said(LOBBY, 9)] });
  assert.equal(socket.sent[0].since, "e.9");
  // A page may be empty: all of it was not for us.
  socket.reply("$subscribe", { position: "e.11", more: true, publications: [] });
  assert.equal(socket.sent[0].since, "e.11");
  socket.receive(said(LOBBY, 12));
  socket.reply("$subscribe", { position: "e.32", publications: [said(LOBBY, 12)], recovered: true });
  socket.receive(said(LOBBY, 33));
  assert.deepEqual(messages, [2, 5, 9, 12, 33]);
  assert.deepEqual(await chat.ready, { position: "e.32", recovered: true });
});

test("pages that are cut off go on where they were", async () => {
  const stage = await opened();
  const chat = stage.line.subscribe(LOBBY, { last: 10 });
  const messages = heard(chat);
  stage.socket.reply("$subscribe", { position: "e.5", more: true, publications: [said(LOBBY, 2), said(LOBBY, 5)] });
  await stage.again({ position: "e.99" });
  const { since, last } = stage.socket.reply("$subscribe", { position: "e.99", publications: [said(LOBBY, 9)] });
  assert.deepEqual([since, last, messages], ["e.5", 10, [2, 5, 9]]);
});

test("a subscribe whose reply never came asks again for the same", async () => {
  for (const options of [{ last: 5 }, { since: "e.3" }, {}]) {
    const stage = await opened();
    stage.line.subscribe(LOBBY, options);
    const { id: _, ...first } = stage.socket.take();
    await stage.again({ resumed: true, position: "e.50", subscriptions: [{ channel: LOBBY, recovered: true }] });
    const { id: __, ...second } = stage.socket.take();
    assert.deepEqual(second, first);
    await stage.again({ position: "e.60" });
    assert.equal(stage.socket.take().since, options.since);
  }
});

test("on a new connection a channel goes on from where it is known to be complete", async () => {
  const cases = [
    // The reply was ahead of everything that was seen.
    { joined: "e.15", pushes: [], since: "e.15" },
    // Another channel's push says that nothing is missing up to there.
    { joined: "e.15", pushes: [said("chat:other", 40)], since: "e.40" },
    { joined: "e.15", pushes: [said(LOBBY, 16), said("chat:other", 17)], since: "e.17" },
    { joined: "e.15", pushes: [said("chat:other", 9, 9, { position: "f.2" })], since: "f.2" },
  ];
  for (const { joined, pushes, since } of cases) {
    const stage = await opened();
    stage.join(LOBBY, {}, { position: joined });
    stage.socket.receive(...pushes);
    await stage.again({ position: "e.500" });
    assert.equal(stage.socket.sent[0].since, since);
    // Twice cut off: the new connection's position says nothing about a channel that is not subscribed yet.
    await stage.again({ position: "e.600" });
    assert.equal(stage.socket.sent[0].since, since);
  }
});

test("what a reply repeats is delivered once, and a stamp says nothing in another epoch", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY);
  const messages = heard(chat);
  stage.socket.receive(said(LOBBY, 11), said(LOBBY, 13));
  await stage.again();
  stage.socket.reply("$subscribe", { position: "e.20", recovered: true, publications: [11, 13, 14].map((at) => said(LOBBY, at)) });
  stage.socket.receive(said(LOBBY, 2, "new epoch", { position: "f.2" }), said(LOBBY, 1, "volatile", { position: undefined }));
  assert.deepEqual(messages, [11, 13, 14, "new epoch", "volatile"]);
});

test("what cannot be recovered is a gap", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY);
  const gaps = heard(chat, "$gap");
  await stage.again({ position: "f.3" });
  stage.socket.reply("$subscribe", { position: "f.3", recovered: false, publications: [] });
  assert.deepEqual(gaps, [{ position: "f.3" }]);
  stage.socket.receive({ type: "$gap", channel: LOBBY, payload: { position: "f.9" } });
  assert.deepEqual(gaps, [{ position: "f.3" }, { position: "f.9" }]);
});

test("a channel that is refused after a reconnect says so", async () => {
  const stage = await opened();
  const errors = heard(stage.join(LOBBY), "$error");
  await stage.again();
  stage.socket.refuse("$subscribe", { code: "forbidden" });
  assert.equal(errors[0].code, "forbidden");
  await stage.again();
  assert.deepEqual(stage.socket.sent, []);
});

test("the server may end a subscription", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY);
  const [messages, ended, told] = [heard(chat), heard(chat, "$unsubscribed"), heard(stage.line, "$unsubscribed")];
  stage.socket.receive({ type: "$unsubscribed", channel: LOBBY, payload: { reason: "kicked" } }, said(LOBBY, 11));
  assert.deepEqual([messages, ended, told], [[], [{ reason: "kicked" }], [{ reason: "kicked", channel: LOBBY }]]);
  await stage.again();
  assert.deepEqual(stage.socket.sent, []);
});

test("a handler may leave the channel in the middle of a page", async () => {
  const stage = await opened();
  const chat = stage.line.subscribe(LOBBY, { last: 3 });
  const messages = heard(chat);
  chat.on("message", () => chat.unsubscribe());
  stage.socket.reply("$subscribe", { position: "e.9", more: true, publications: [7, 8, 9].map((at) => said(LOBBY, at)) });
  assert.deepEqual(messages, [7]);
  assert.deepEqual(stage.socket.sent.map(({ type }) => type), ["$unsubscribe"]);
});

test("the history comes as events", async () => {
  const { line, socket } = await opened();
  const chat = line.subscribe(LOBBY);
  const history = chat.history({ limit: 2, before: "e.9" });
  const bytes = said(LOBBY, 8, "AQI=", { encoding: "base64" });
  const asked = socket.reply("$history", { publications: [said(LOBBY, 7), bytes], more: true, position: "e.10" });
  assert.deepEqual([asked.channel, asked.limit, asked.before, "since" in asked], [LOBBY, 2, "e.9", false]);
  const { publications, more, position } = await history;
  assert.deepEqual(publications.map(({ payload }) => payload), [7, new Uint8Array([1, 2])]);
  assert.deepEqual([more, position], [true, "e.10"]);
});

test("presence follows who comes and goes", async () => {
  const stage = await opened();
  const chat = stage.line.subscribe(LOBBY, { presence: true });
  const [all, joined, left] = [heard(chat, "$presence"), heard(chat, "$joined"), heard(chat, "$left")];
  stage.socket.reply("$subscribe", { position: "e.1", publications: [], presence: { count: 1, members: [BOB] } });
  stage.socket.receive({ type: "$joined", channel: LOBBY, payload: { member: EVE, count: 2 } });
  assert.deepEqual([...chat.members], [["c2", BOB], ["c3", EVE]]);
  stage.socket.receive({ type: "$left", channel: LOBBY, payload: { member: BOB, reason: "closed", count: 1 } });
  assert.deepEqual([[...chat.members.values()], chat.count], [[EVE], 1]);
  assert.deepEqual(joined, [{ member: EVE, count: 2 }]);
  assert.deepEqual(left, [{ member: BOB, reason: "closed", count: 1 }]);
  assert.deepEqual(all, [
    { count: 1, members: [BOB] },
    { count: 2, members: [BOB, EVE] },
    { count: 1, members: [EVE] },
  ]);
  stage.socket.receive({ type: "$presence", channel: LOBBY, payload: { count: 2, members: [BOB, EVE] } });
  assert.deepEqual([[...chat.members.values()], chat.count, all.length], [[BOB, EVE], 2, 4]);
});

test("presence is asked for anew when the connection was taken up again", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY, { presence: true }, { presence: { count: 2, members: [BOB, EVE] } });
  const all = heard(chat, "$presence");
  await stage.again({ resumed: true, subscriptions: [{ channel: LOBBY, recovered: true }] });
  stage.socket.reply("$presence", { count: 1, members: [EVE] });
  assert.deepEqual([all, chat.count, chat.members.has("c2")], [[{ count: 1, members: [EVE] }], 1, false]);
});

test("a member may have any id", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY, { presence: true }, { presence: { count: 0, members: [] } });
  const ids = ["__proto__", "constructor", "then"];
  for (const connection of ids) {
    stage.socket.receive({ type: "$joined", channel: LOBBY, payload: { member: { connection }, count: 1 } });
    stage.socket.receive({ type: "typing", channel: LOBBY, payload: null, from: { connection } });
  }
  assert.deepEqual([...chat.members.keys()], ids);
  assert.equal({}.connection, undefined);
});

const typing = (from) => ({ type: "typing", channel: LOBBY, payload: null, from });
const typists = (stage) => {
  const lists = heard(stage.join(LOBBY), "$typing");
  return () => lists.at(-1)?.map(({ connection }) => connection);
};

test("who types is listed for 5 s after each time that it is said", async () => {
  const stage = await opened();
  const now = typists(stage);
  assert.equal(now(), undefined);
  stage.socket.receive(typing(BOB));
  await stage.clock.advance(3000);
  stage.socket.receive(typing(EVE));
  assert.deepEqual(now(), ["c2", "c3"]);
  await stage.clock.advance(1000);
  stage.socket.receive(typing(BOB));
  await stage.clock.advance(3999);
  assert.deepEqual(now(), ["c2", "c3"]);
  await stage.clock.advance(1);
  assert.deepEqual(now(), ["c2"]);
  await stage.clock.advance(1000);
  assert.deepEqual(now(), []);
});

test("who says something, or leaves, types no more", async () => {
  const stage = await opened();
  const now = typists(stage);
  stage.socket.receive(typing(BOB), typing(EVE), said(LOBBY, 11, "done", { from: BOB }));
  assert.deepEqual(now(), ["c3"]);
  stage.socket.receive({ type: "$left", channel: LOBBY, payload: { member: EVE, reason: "lost", count: 0 } });
  assert.deepEqual(now(), []);
});

test("what is kept, or comes from nobody, is no typing", async () => {
  const stage = await opened();
  const now = typists(stage);
  stage.socket.receive({ ...typing(BOB), position: "e.11" }, typing(undefined));
  assert.equal(now(), undefined);
});

test("typing is said every 3 s at most, to the others only, and never kept", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY);
  for (let key = 0; key < 60; key += 1) {
    chat.typing();
    await stage.clock.advance(100);
  }
  assert.equal(stage.socket.sent.length, 2);
  const { type, channel, volatile, echo, key } = stage.socket.take();
  assert.deepEqual([type, channel, volatile, echo, key], ["typing", LOBBY, true, false, undefined]);
  stage.socket.refuse("typing", { code: "forbidden" });
  await settle();
});

test("a crowd that types is listed up to 1 000", async () => {
  const stage = await opened();
  const now = typists(stage);
  for (let at = 0; at < 1100; at += 1) stage.socket.receive(typing({ connection: `x${at}` }));
  assert.equal(now().length, 1000);
  await stage.clock.advance(5000);
  assert.deepEqual(now(), []);
});

test("leaving ends every timer of the channel", async () => {
  const stage = await opened();
  const chat = stage.join(LOBBY);
  const before = stage.clock.timers;
  stage.socket.receive(typing(BOB));
  assert.equal(stage.clock.timers, before + 1);
  chat.unsubscribe();
  assert.equal(stage.clock.timers, before);
});

test("neither a line nor a channel is a promise", async () => {
  const stage = new Stage();
  assert.equal(await stage.line, stage.line);
  const chat = stage.line.subscribe("chat:lobby");
  assert.equal(await chat, chat);
  chat.on("then", () => {});
  assert.equal(await chat, chat);
});
