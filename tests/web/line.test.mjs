/** A line: status, resuming, events, and its end. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { OpenlineError, connect } from "../../src/openline/web/sdk/openline.js";
import { Stage, errorOf, heard, said, settle } from "./stage.mjs";

const names = (stage) => stage.statuses.map(({ status }) => status);

test("there is one line for a server, however often and however it is asked for", () => {
  const stage = new Stage();
  assert.equal(connect(stage.url), stage.line);
  assert.equal(connect(new URL(stage.url)), stage.line);
  assert.equal(connect(`${stage.url.replace("ws:", "http:")}#part`), stage.line);
  assert.notEqual(new Stage().line, stage.line);
  assert.equal(stage.sockets.length, 1);
  assert.equal(stage.socket.url, stage.url);
});

test("a line that was closed is replaced", () => {
  const stage = new Stage();
  stage.line.close();
  const next = connect(stage.url, stage.options);
  assert.notEqual(next, stage.line);
  assert.equal(next.status, "connecting");
});

test("without an address the page's own server is meant", (t) => {
  globalThis.location = { href: "https://chat.example/rooms/1?x=2" };
  t.after(() => delete globalThis.location);
  const { options, sockets } = new Stage();
  connect(undefined, options);
  assert.equal(sockets.at(-1).url, "wss://chat.example/openline");
});

test("an address that cannot be one is refused at once", () => {
  const { options } = new Stage();
  for (const url of [{ token: "t" }, 5, null, "", "/openline"]) assert.throws(() => connect(url, options), TypeError);
});

test("without a WebSocket there is no line", (t) => {
  const builtIn = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  delete globalThis.WebSocket;
  t.after(() => builtIn && Object.defineProperty(globalThis, "WebSocket", builtIn));
  assert.throws(() => connect("ws://nowhere.test/", { transports: ["websocket"] }), /give one/);
});

test("the status goes through connecting, open, waiting and closed, and says why", async () => {
  const stage = new Stage();
  assert.equal(stage.line.status, "connecting");
  assert.deepEqual([stage.line.connection, stage.line.user], [null, null]);
  await stage.open({ user: "ada" });
  assert.deepEqual([stage.line.connection, stage.line.user], ["c1", "ada"]);
  stage.clock.luck = 0.5;
  stage.socket.end(1012, "restart");
  await stage.clock.advance(250);
  await stage.open({ resumed: true, subscriptions: [] });
  stage.line.close();
  stage.line.close();
  assert.deepEqual(stage.statuses, [
    { status: "open", resumed: false, restarted: false },
    { status: "waiting", retryIn: 250, code: 1012, reason: "restart" },
    { status: "connecting" },
    { status: "open", resumed: true, restarted: false },
    { status: "closed", code: 1000, reason: "" },
  ]);
});

test("a server that goes says for how long, and the next wait is as usual", async () => {
  const stage = new Stage();
  await stage.open();
  stage.clock.luck = 0.5;
  stage.socket.receive({ type: "$away", payload: { retry: 3 } });
  stage.socket.end(1012, "restart");
  assert.equal(stage.statuses.at(-1).retryIn, 3250);
  await stage.clock.advance(3250);
  stage.socket.end();
  assert.equal(stage.statuses.at(-1).retryIn, 500);
  await stage.clock.advance(500);
  for (const [payload, wait] of [[{}, 250], [undefined, 250], [{ retry: -1 }, 250], [{ retry: 1e9 }, 60_250]]) {
    await stage.open();
    await stage.clock.advance(5000);
    stage.socket.receive({ type: "$away", payload });
    stage.socket.end(1012, "restart");
    assert.equal(stage.statuses.at(-1).retryIn, wait);
    await stage.clock.advance(wait);
  }
});

test("tries that fail wait longer and longer, and a line that stays open forgets them", async () => {
  const stage = new Stage();
  const waits = [];
  for (let tries = 0; tries < 8; tries += 1) {
    stage.socket.end();
    waits.push(stage.statuses.at(-1).retryIn);
    await stage.clock.advance(waits.at(-1));
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  // One that breaks at once is one more that failed.
  await stage.open();
  stage.socket.end();
  assert.equal(stage.statuses.at(-1).retryIn, 20_000);
  await stage.clock.advance(20_000);
  await stage.open();
  await stage.clock.advance(5000);
  stage.socket.end();
  assert.equal(stage.statuses.at(-1).retryIn, 500);
});

test("the network that comes back makes the failed tries forgotten", () => {
  const stage = new Stage();
  for (let tries = 0; tries < 5; tries += 1) {
    stage.socket.end();
    stage.window.fire("online");
  }
  stage.socket.end();
  assert.equal(stage.statuses.at(-1).retryIn, 500);
});

test("a server that is too busy is given time", async () => {
  const stage = new Stage();
  await stage.open();
  stage.socket.end(1013);
  assert.equal(stage.statuses.at(-1).retryIn, 4000);
});

test("a close for good ends the line, and with it what waits", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.line.subscribe("chat:lobby");
  const emitted = errorOf(stage.line.emit("save"));
  stage.socket.end(4410, "banned");
  assert.deepEqual(stage.statuses.at(-1), { status: "closed", code: 4410, reason: "banned" });
  for (const error of [await emitted, await errorOf(chat.ready), await errorOf(stage.line.emit("save"))]) {
    assert.deepEqual([error.code, error.message], ["closed", "banned"]);
  }
  assert.equal((await errorOf(stage.line.subscribe("chat:other").ready)).code, "closed");
  assert.equal(stage.clock.timers, 0);
});

test("never are two sockets alive, whatever happens in whatever order", async () => {
  const stage = new Stage({ token: () => Promise.resolve("t") });
  let seed = 7;
  const draw = (many) => (seed = (seed * 48_271) % 2_147_483_647) % many;
  const steps = [
    () => stage.window.fire("online"),
    () => stage.document.fire("visibilitychange"),
    () => stage.clock.advance(draw(15_000)),
    () => settle(),
    () => stage.alive.length > 0 && stage.socket.readyState === 0 && stage.open(),
    () => stage.alive.length > 0 && stage.socket.end(1006),
    () => stage.alive.length > 0 && stage.socket.end(4401),
  ];
  for (let step = 0; step < 400 && stage.line.status !== "closed"; step += 1) {
    await steps[draw(steps.length - 1)]();
    assert.ok(stage.alive.length <= 1);
  }
  stage.line.close();
  assert.equal(stage.alive.length, 0);
  assert.equal(stage.clock.timers, 0);
});

test("a line that comes back brings the newest secret and the last position it has seen", async () => {
  const stage = new Stage();
  await stage.open();
  stage.join("chat:lobby", {}, { position: "e.12" });
  assert.deepEqual(await stage.again({ resumed: true, position: "e.10", subscriptions: kept() }), {
    ...{ type: "$connect", id: 0, resume: "secret-1", since: "e.10" },
  });
  stage.socket.receive(said("chat:lobby", 14));
  stage.socket.receive({ type: "$gap", channel: "chat:lobby", payload: { position: "e.99" } });
  const hello = await stage.again({ resumed: true, position: "e.14", subscriptions: kept() });
  assert.deepEqual([hello.resume, hello.since], ["secret-2", "e.14"]);
  stage.socket.receive({ type: "news", payload: 1, position: "e.20" });
  assert.equal((await stage.again()).since, "e.20");
});

const kept = (recovered = true) => [{ channel: "chat:lobby", recovered }];

test("a connection that goes on keeps its subscriptions without a word", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.join("chat:lobby");
  const messages = heard(chat);
  const gaps = heard(chat, "$gap");
  await stage.again({ resumed: true, subscriptions: kept() });
  assert.deepEqual(stage.socket.sent, []);
  stage.socket.receive(said("chat:lobby", 11), said("chat:lobby", 12));
  assert.deepEqual([messages, gaps], [[11, 12], []]);
});

test("a subscription that has lost something says so, and goes on", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.join("chat:lobby");
  const [messages, gaps] = [heard(chat), heard(chat, "$gap")];
  await stage.again({ resumed: true, position: "e.90", subscriptions: kept(false) });
  assert.deepEqual(gaps, [{ position: "e.90" }]);
  stage.socket.receive(said("chat:lobby", 91));
  assert.deepEqual(messages, [91]);
});

test("a line that has lost events without a channel says so", async () => {
  const stage = new Stage();
  await stage.open({ recovered: false });
  const gaps = heard(stage.line, "$gap");
  await stage.again({ resumed: true, recovered: true });
  assert.deepEqual(gaps, []);
  await stage.again({ resumed: true, recovered: false, position: "e.70" });
  assert.deepEqual(gaps, [{ position: "e.70" }]);
});

test("a subscription that the server does not know of is made again", async () => {
  const stage = new Stage();
  await stage.open();
  stage.join("chat:lobby");
  await stage.again({ resumed: true, subscriptions: [{ channel: "chat:other", recovered: true }] });
  assert.deepEqual(stage.socket.take(), { id: 2, type: "$subscribe", channel: "chat:lobby", since: "e.10" });
  assert.deepEqual(stage.socket.sent, []);
});

test("a server with a new memory is told apart from one that only forgot the connection", async () => {
  const stage = new Stage();
  await stage.open();
  await stage.again({ resumed: false, position: "e.20" });
  assert.deepEqual(stage.statuses.at(-1), { status: "open", resumed: false, restarted: false });
  await stage.again({ resumed: false, position: "f.1" });
  assert.deepEqual(stage.statuses.at(-1), { status: "open", resumed: false, restarted: true });
});

test("a channel that was left while the line was broken is left when it is back", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.join("chat:lobby");
  const messages = heard(chat);
  stage.socket.end();
  chat.unsubscribe();
  await stage.clock.advance(500);
  await stage.open({ resumed: true, subscriptions: kept() });
  stage.socket.receive(said("chat:lobby", 11));
  assert.deepEqual(messages, []);
  stage.socket.reply("$unsubscribe", null);
  await stage.again({ resumed: true, subscriptions: [] });
  assert.deepEqual(stage.socket.sent, []);
});

test("a channel that a new connection is given is not left for what an earlier one wanted", async () => {
  const stage = new Stage();
  await stage.open();
  stage.join("chat:lobby").unsubscribe();
  await stage.again({ resumed: false });
  stage.socket.receive({ type: "$subscribed", channel: "chat:lobby", payload: { position: "e.11" } });
  await stage.again({ resumed: true, subscriptions: kept() });
  assert.deepEqual(stage.socket.sent, []);
});

test("a channel whose leaving was cut off is left again", async () => {
  const stage = new Stage();
  await stage.open();
  stage.join("chat:lobby").unsubscribe();
  assert.equal(stage.socket.take().type, "$unsubscribe");
  await stage.again({ resumed: true, subscriptions: kept() });
  assert.equal(stage.socket.take().type, "$unsubscribe");
});

test("a channel that the server gave us is not taken from us", async () => {
  const stage = new Stage();
  await stage.open();
  const given = heard(stage.line, "$subscribed");
  stage.socket.receive({ type: "$subscribed", channel: "chat:lobby", payload: { position: "e.11" } });
  assert.deepEqual(given, [{ channel: "chat:lobby", position: "e.11" }]);
  await stage.again({ resumed: true, subscriptions: kept() });
  assert.deepEqual(stage.socket.sent, []);
});

test("events without a channel reach the line, with everything that is known of them", async () => {
  const stage = new Stage();
  await stage.open();
  const events = [];
  const remove = stage.line.on("notice", (payload, event) => events.push([payload, event]));
  stage.socket.receive({ type: "notice", payload: "hi", position: "e.11", from: { connection: "c2" } });
  stage.socket.receive({ type: "notice", payload: "AQI=", encoding: "base64" });
  remove();
  stage.socket.receive({ type: "notice", payload: "late" });
  assert.deepEqual(events, [
    ["hi", { type: "notice", payload: "hi", position: "e.11", from: { connection: "c2" } }],
    [new Uint8Array([1, 2]), { type: "notice", payload: new Uint8Array([1, 2]) }],
  ]);
});

test("what nobody knows is ignored", async () => {
  const stage = new Stage();
  await stage.open();
  const notices = heard(stage.line, "notice");
  const { socket } = stage;
  socket.receive("", "nonsense", "[]", "null", '{"type":5}', '{"payload":1}');
  socket.receive({ type: "$future", payload: 1 }, { type: "$reply", id: 99 }, { type: "$joined", channel: "chat:none" });
  socket.receive({ type: "message", channel: "__proto__", payload: 1 }, { type: "constructor", payload: 1 });
  socket.onmessage({ data: new ArrayBuffer(2) });
  socket.receive({ type: "notice", payload: "still here" });
  assert.deepEqual(notices, ["still here"]);
  assert.equal(stage.line.status, "open");
});

test("an error that belongs to no command is told", async () => {
  const stage = new Stage();
  await stage.open();
  const errors = heard(stage.line, "$error");
  stage.socket.receive({ type: "$error", code: "bad_message", message: "not JSON" });
  assert.ok(errors[0] instanceof OpenlineError);
  assert.equal(errors[0].code, "bad_message");
});

test("a handler that throws leaves the line as it is", async (t) => {
  const reported = t.mock.method(console, "error", () => {});
  const stage = new Stage();
  const boom = () => {
    throw new Error("boom");
  };
  stage.line.on("$status", boom);
  stage.line.on("notice", boom);
  await stage.open();
  const chat = stage.join("chat:lobby");
  chat.on("message", boom);
  chat.on("$gap", boom);
  const messages = heard(chat);
  stage.socket.receive({ type: "notice", payload: 1 }, said("chat:lobby", 11));
  await stage.again({ resumed: true, subscriptions: kept(false) });
  stage.socket.receive(said("chat:lobby", 12));
  assert.deepEqual(messages, [11, 12]);
  assert.equal(reported.mock.callCount(), 8);
});

test("closing is clean, rejects what waits, and ends every timer", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.join("chat:lobby", { presence: true }, { presence: { count: 0, members: [] } });
  stage.socket.receive({ type: "typing", channel: "chat:lobby", payload: null, from: { connection: "c2" } });
  const waiting = [
    stage.line.emit("save"),
    stage.line.ask("add"),
    chat.publish("message", 1),
    chat.publish("message", 2),
    chat.history(),
    stage.line.subscribe("chat:other").ready,
  ].map(errorOf);
  const volatile = chat.publish("message", 3, { volatile: true });
  stage.line.close();
  assert.equal(stage.socket.closed, 1000);
  for (const error of await Promise.all(waiting)) assert.equal(error.code, "closed");
  assert.deepEqual(await volatile, {});
  assert.equal(stage.clock.timers, 0);
  assert.equal(stage.line.status, "closed");
});

test("closing while it waits ends the waiting", async () => {
  const stage = new Stage();
  stage.socket.end();
  stage.line.close();
  await stage.clock.advance(60_000);
  stage.window.fire("online");
  assert.equal(stage.sockets.length, 1);
  assert.deepEqual(names(stage), ["waiting", "closed"]);
});

test("a handler of the status may close the line", async () => {
  for (const last of ["connecting", "open", "waiting"]) {
    const stage = new Stage();
    await stage.open();
    stage.line.on("$status", ({ status }) => status === last && stage.line.close());
    stage.socket.end();
    await stage.clock.advance(500);
    if (last === "open") await stage.open();
    await stage.clock.advance(60_000);
    assert.equal(stage.line.status, "closed");
    assert.equal(stage.alive.length, 0);
    assert.equal(stage.clock.timers, 0);
  }
});

test("a page that goes away for good ends the connection at once", async () => {
  const stage = new Stage();
  await stage.open();
  stage.window.fire("pagehide", { persisted: false });
  assert.equal(stage.socket.closed, 1000);
  assert.equal(stage.line.status, "closed");
});

test("a gap in what was sent to the connection itself is told", async () => {
  const stage = new Stage();
  const gaps = [];
  stage.line.on("$gap", (payload) => gaps.push(payload));
  await stage.open();
  stage.socket.receive({ type: "$gap", payload: { position: "e.7" } });
  assert.deepEqual(gaps, [{ position: "e.7" }]);
});
