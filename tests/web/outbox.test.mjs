/** The outbox: kept until answered, in order, once, and within its bounds. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage, errorOf, heard, settle } from "./stage.mjs";

const LOBBY = "chat:lobby";

/** A stage whose line is open, and a channel that nobody joined. */
async function opened(options) {
  const stage = new Stage(options);
  await stage.open();
  return { stage, chat: stage.join(LOBBY) };
}

const payloads = ({ socket }) => socket.sent.map(({ payload }) => payload);

test("a publication carries a key, and resolves with its position", async () => {
  const { stage, chat } = await opened();
  const published = chat.publish("message", "hi", { echo: false });
  const { id: _, key, ...frame } = stage.socket.sent[0];
  assert.deepEqual(frame, { type: "message", channel: LOBBY, payload: "hi", echo: false });
  assert.match(key, /^[0-9a-f]{32}$/);
  stage.socket.reply("message", { position: "e.11" });
  assert.deepEqual(await published, { position: "e.11" });
});

test("what is published is what it was at that moment", async () => {
  const stage = new Stage();
  const draft = { text: "first" };
  stage.line.emit("save", draft);
  draft.text = "second";
  await stage.open();
  assert.deepEqual(stage.socket.take("save").payload, { text: "first" });
});

test("publications of a channel leave one after the other, those of others at once", async () => {
  const { stage, chat } = await opened();
  const other = stage.join("chat:other");
  for (const at of [1, 2, 3]) chat.publish("message", at);
  other.publish("message", "other");
  assert.deepEqual(payloads(stage), [1, "other"]);
  stage.socket.reply("message", { position: "e.11" });
  assert.deepEqual(payloads(stage), ["other", 2]);
});

test("what waits leaves in order when the line opens, behind the subscriptions", async () => {
  const stage = new Stage();
  const chat = stage.line.subscribe(LOBBY);
  const results = [1, 2].map((at) => chat.publish("message", at));
  stage.line.emit("save", 3);
  await stage.open();
  assert.deepEqual(stage.socket.sent.map(({ type }) => type), ["$subscribe", "message", "save"]);
  stage.socket.reply("message", { position: "e.1" });
  stage.socket.reply("message", { position: "e.2" });
  assert.deepEqual(await Promise.all(results), [{ position: "e.1" }, { position: "e.2" }]);
});

test("what was not answered is sent again with its key, and before what is new", async () => {
  const { stage, chat } = await opened();
  chat.publish("message", "old");
  stage.line.emit("save", "old event");
  const keys = stage.socket.sent.map(({ key }) => key);
  stage.socket.end();
  chat.publish("message", "new");
  stage.line.emit("save", "new event");
  await stage.clock.advance(500);
  await stage.open({ resumed: true, subscriptions: [{ channel: LOBBY, recovered: true }] });
  assert.deepEqual(payloads(stage), ["old", "old event", "new event"]);
  assert.deepEqual(stage.socket.sent.slice(0, 2).map(({ key }) => key), keys);
  stage.socket.reply("message", { position: "e.11" });
  assert.equal(stage.socket.sent.at(-1).payload, "new");
});

test("what was answered is never sent again", async () => {
  const { stage, chat } = await opened();
  chat.publish("message", 1);
  stage.socket.reply("message", { position: "e.11" });
  const error = errorOf(chat.publish("message", 2));
  stage.socket.refuse("message", { code: "forbidden" });
  assert.equal((await error).code, "forbidden");
  await stage.again({ resumed: true, subscriptions: [{ channel: LOBBY, recovered: true }] });
  assert.deepEqual(stage.socket.sent, []);
});

test("on a new connection publications are repeated, for their key still counts", async () => {
  const { stage, chat } = await opened();
  const published = chat.publish("message", 1);
  const { key } = stage.socket.sent[0];
  await stage.again({ resumed: false });
  assert.equal(stage.socket.reply("message", { position: "e.11" }).key, key);
  assert.deepEqual(await published, { position: "e.11" });
});

test("on a new connection an event that may have run is not run twice", async () => {
  const { stage } = await opened();
  const sent = [stage.line.emit("save", 1), stage.line.ask("add", 2)].map(errorOf);
  stage.socket.end();
  const unsent = stage.line.emit("save", 3);
  await stage.clock.advance(500);
  await stage.open({ resumed: false });
  for (const { code, retry } of await Promise.all(sent)) assert.deepEqual([code, retry], ["unavailable", true]);
  stage.socket.reply("save", "saved");
  assert.equal(await unsent, "saved");
  assert.ok(!payloads(stage).includes(1));
});

test("no more events are under way than keys that the server remembers", async () => {
  const { stage } = await opened();
  for (let at = 0; at < 300; at += 1) stage.line.emit("save", at);
  assert.equal(stage.socket.sent.length, 128);
  stage.socket.reply("save");
  assert.equal(stage.socket.sent.length, 128);
  assert.equal(stage.socket.sent.at(-1).payload, 128);
});

test("reads are sent again, too", async () => {
  const { stage, chat } = await opened();
  const history = chat.history();
  const presence = chat.presence();
  await stage.again({ resumed: false });
  stage.socket.reply("$history", { publications: [], more: false, position: "e.1" });
  stage.socket.reply("$presence", { count: 0, members: [] });
  assert.deepEqual((await history).publications, []);
  assert.deepEqual(await presence, { count: 0, members: [] });
});

test("an unknown outcome is tried again with the same key, later and later, and nothing overtakes it", async () => {
  const { stage, chat } = await opened();
  const published = chat.publish("message", 1);
  chat.publish("message", 2);
  const { key } = stage.socket.sent[0];
  for (const ms of [500, 1000, 2000]) {
    assert.equal(stage.socket.refuse("message", { code: "unavailable", retry: true }).key, key);
    await stage.clock.advance(ms - 1);
    assert.deepEqual(stage.socket.sent, []);
    await stage.clock.advance(1);
  }
  stage.socket.reply("message", { position: "e.11" });
  assert.deepEqual(await published, { position: "e.11" });
  assert.deepEqual(payloads(stage), [2]);
});

test("a publication is sent again for as long as the server knows its key, and one that was never sent for ever", async () => {
  const { stage, chat } = await opened();
  stage.clock.luck = 0;
  const unknown = errorOf(chat.publish("message", "sent"));
  const waits = chat.publish("message", "not sent");
  const reopen = async (ms) => {
    stage.socket.end();
    await stage.clock.advance(ms);
    await stage.open({ resumed: false });
  };
  await reopen(230_000);
  assert.equal(stage.socket.take("message").payload, "sent");
  await reopen(10_000);
  const { code, retry } = await unknown;
  assert.deepEqual([code, retry], ["unavailable", true]);
  stage.socket.reply("message", { position: "e.11" });
  assert.deepEqual(await waits, { position: "e.11" });
});

test("an event that may be tried again gets a new key, for the old one's answer is remembered", async () => {
  const { stage } = await opened();
  const saved = stage.line.emit("save", 1);
  const first = stage.socket.refuse("save", { code: "busy", retry: true });
  await stage.clock.advance(500);
  const second = stage.socket.reply("save", "saved");
  assert.notEqual(first.key, second.key);
  assert.equal(await saved, "saved");
});

test("a line that breaks while something rests sends it again at once, once", async () => {
  const { stage, chat } = await opened();
  chat.publish("message", 1);
  stage.socket.refuse("message", { code: "unavailable", retry: true });
  stage.clock.luck = 0;
  await stage.again({ resumed: true, subscriptions: [{ channel: LOBBY, recovered: true }] });
  assert.deepEqual(payloads(stage), [1]);
  await stage.clock.advance(5000);
  assert.deepEqual(payloads(stage), [1]);
});

test("beyond its bounds the outbox takes nothing more, and says so", async () => {
  const few = new Stage({ outbox: { entries: 3 } });
  for (let at = 0; at < 3; at += 1) few.line.emit("save", at);
  const error = await errorOf(few.line.emit("save", 3));
  assert.deepEqual([error.code, error.retry], ["too_many", true]);
  assert.equal((await errorOf(few.line.subscribe(LOBBY).publish("message", 1))).code, "too_many");
  await few.open();
  few.socket.reply("save");
  few.line.emit("save", 4);
  assert.equal(few.socket.sent.at(-1).payload, 4);
});

test("whatever is submitted, the bytes that are kept stay below their bound", async () => {
  const stage = new Stage({ outbox: { bytes: 10_000 } });
  let kept = 0;
  for (let at = 0; at < 300; at += 1) {
    const payload = "é".repeat((at * 7919) % 900);
    const bytes = Buffer.byteLength(JSON.stringify({ type: "save", payload }));
    let full = false;
    stage.line.emit("save", payload).catch(() => (full = true));
    await settle();
    assert.equal(full, kept + bytes > 10_000);
    if (!full) kept += bytes;
  }
  assert.ok(kept > 9_000);
});

test("a message that the server would not take is refused here", async () => {
  const stage = new Stage();
  assert.equal((await errorOf(stage.line.emit("save", "x".repeat(65_536)))).code, "too_large");
  const waits = errorOf(stage.line.emit("save", "é".repeat(600)));
  await stage.open({ limits: { message: 1000 } });
  assert.equal((await waits).code, "too_large");
  assert.equal((await errorOf(stage.line.emit("save", "x".repeat(1000)))).code, "too_large");
  assert.equal((await errorOf(stage.line.subscribe(LOBBY).publish("a", "x".repeat(1000), { volatile: true }))).code, "too_large");
  stage.line.emit("save", "x".repeat(800));
  const { id, key, ...rest } = stage.socket.take("save");
  assert.ok(Buffer.byteLength(JSON.stringify({ id: 2 ** 53 - 1, key, ...rest })) <= 1000);
});

test("what cannot be JSON, or has no name, is refused here", async () => {
  const { line } = new Stage();
  assert.equal((await errorOf(line.emit("save", 10n))).code, "bad_payload");
  assert.equal((await errorOf(line.emit("$save"))).code, "bad_field");
  assert.equal((await errorOf(line.ask())).code, "bad_field");
  assert.equal((await errorOf(line.subscribe(LOBBY).publish("$typing"))).code, "bad_field");
});

test("a volatile publication is dropped where it cannot leave at once", async () => {
  const stage = new Stage();
  const chat = stage.line.subscribe(LOBBY);
  const drop = () => chat.publish("cursor", 1, { volatile: true });
  assert.deepEqual(await drop(), {});
  await stage.open();
  assert.equal(stage.socket.sent.filter(({ type }) => type === "cursor").length, 0);
  const cut = drop();
  stage.socket.end();
  assert.deepEqual(await cut, {});
  await stage.clock.advance(500);
  await stage.open();
  stage.socket.bufferedAmount = 2_000_000;
  assert.deepEqual(await drop(), {});
  assert.equal(stage.socket.sent.filter(({ type }) => type === "cursor").length, 0);
});

test("volatile publications are answered, and no more of them wait than may get lost", async () => {
  const { stage, chat } = await opened();
  const answers = Array.from({ length: 300 }, (_, at) => chat.publish("cursor", at, { volatile: true }));
  assert.equal(stage.socket.sent.length, 256);
  assert.equal("key" in stage.socket.sent[0], false);
  stage.socket.reply("cursor", {});
  stage.socket.refuse("cursor", { code: "forbidden" });
  assert.deepEqual(await answers[0], {});
  assert.equal((await errorOf(answers[1])).code, "forbidden");
  assert.deepEqual(await answers[299], {});
});

test("an outbox that is full of what is under way empties again", async () => {
  const { stage, chat } = await opened({ outbox: { entries: 50 } });
  const told = heard(stage.line, "$error");
  const done = Array.from({ length: 50 }, (_, at) => chat.publish("message", at));
  for (let at = 0; at < 50; at += 1) stage.socket.reply("message", { position: `e.${at + 11}` });
  assert.equal((await Promise.all(done)).length, 50);
  chat.publish("message", "one more");
  assert.deepEqual(payloads(stage), ["one more"]);
  assert.deepEqual(told, []);
});

test("what was answered, or given up and answered late, makes room for exactly as much", async () => {
  const { stage, chat } = await opened({ outbox: { bytes: 1000 } });
  for (let at = 0; at < 20; at += 1) {
    const published = chat.publish("message", "x".repeat(400));
    stage.socket.reply("message", { position: `e.${at + 11}` });
    await published;
    const late = errorOf(stage.line.ask("add", "x".repeat(400), { timeout: 10 }));
    await stage.clock.advance(10);
    assert.equal((await late).code, "timeout");
    stage.socket.reply("add", 1);
  }
  const kept = [1, 2, 3].map((at) => stage.line.emit("save", `${at}`.repeat(400)));
  assert.equal((await errorOf(kept[2])).code, "too_many");
});
