/** Which way a line goes where a network lets some through and some not, and how it finds a better one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../src/openline/web/sdk/openline.js";
// Loaded here, it takes no more than a turn to load it again.
import "../../src/openline/web/sdk/openline/http.js";
import { Crossroads, FakeStorage, welcome } from "./requests.mjs";
import { FakeTarget, errorOf, heard, said, settle } from "./stage.mjs";

const LOBBY = "chat:lobby";
const kept = [{ channel: LOBBY, recovered: true }];

/** A line over an event stream, because WebSockets are refused. */
async function fallen(options) {
  const stage = new Crossroads(options);
  stage.socket.end();
  await stage.openOver("stream");
  return stage;
}

/** Until the next try for something better. */
const TRY_MS = 15_000;

test("where WebSockets pass nothing else is asked for", async () => {
  const stage = new Crossroads();
  await stage.open();
  await stage.clock.advance(30_000);
  assert.deepEqual([stage.line.transport, stage.moves, stage.requests.length], ["websocket", ["websocket"], 0]);
  stage.line.close();
  assert.equal(stage.line.transport, null);
});

test("where WebSockets are refused an event stream carries the line at once", async () => {
  const stage = new Crossroads();
  assert.equal(stage.line.transport, null);
  stage.socket.end();
  assert.deepEqual(await stage.openOver("stream"), { type: "$connect", id: 0 });
  assert.deepEqual([stage.line.status, stage.line.transport, stage.moves], ["open", "stream", ["stream"]]);
  assert.deepEqual(stage.statuses, [{ status: "open", resumed: false, restarted: false }]);
  const chat = await stage.joinOver(LOBBY);
  const messages = heard(chat);
  await stage.tell(said(LOBBY, 11), said(LOBBY, 12));
  assert.deepEqual(messages, [11, 12]);
});

test("where a WebSocket is swallowed an event stream carries the line after 2.5 s, and the WebSocket is given up", async () => {
  const stage = new Crossroads();
  await stage.clock.advance(2499);
  assert.equal(stage.requests.length, 0);
  await stage.clock.advance(1);
  assert.equal(stage.alive.length, 1);
  await stage.openOver("stream");
  assert.deepEqual([stage.line.transport, stage.alive.length], ["stream", 0]);
});

test("a WebSocket that is only slow wins if it is the first, and the stream is given up", async () => {
  const stage = new Crossroads();
  await stage.clock.advance(2500);
  const { stream } = stage;
  await stage.open();
  assert.deepEqual([stage.line.transport, stream.reason], ["websocket", "aborted"]);
});

test("where a WebSocket opens and lets nothing through an event stream carries the line after 5 s", async () => {
  const stage = new Crossroads();
  stage.socket.accept();
  await stage.clock.advance(4999);
  assert.equal(stage.requests.length, 0);
  await stage.clock.advance(1);
  // It may be the server that is slow: until the stream is open the WebSocket has its chance.
  assert.equal(stage.alive.length, 1);
  await stage.openOver("stream");
  assert.deepEqual([stage.line.transport, stage.alive.length], ["stream", 0]);
});

test("where a WebSocket opens and is cut at once, even politely, an event stream carries the line", async () => {
  for (const code of [1000, 1001, 1005, 1006]) {
    const stage = new Crossroads();
    stage.socket.accept();
    stage.socket.end(code);
    await stage.openOver("stream");
    assert.equal(stage.line.transport, "stream");
    stage.line.close();
  }
});

test("where event streams are held back long polls carry the line 2.5 s later", async () => {
  for (const held of [() => {}, (stage) => stage.stream.head()]) {
    const stage = new Crossroads();
    stage.socket.end();
    await settle();
    await held(stage);
    await stage.clock.advance(2499);
    assert.equal(stage.poll, undefined);
    await stage.clock.advance(1);
    const { stream } = stage;
    await stage.openOver("poll");
    assert.deepEqual([stage.line.transport, stage.moves, stream.reason], ["poll", ["poll"], "aborted"]);
    const messages = heard(await stage.joinOver(LOBBY));
    await stage.tell(said(LOBBY, 11), said(LOBBY, 12));
    assert.deepEqual(messages, [11, 12]);
    stage.line.close();
  }
});

test("never are two lines asked for one connection at a time", async () => {
  const stage = new Crossroads();
  stage.socket.accept();
  await stage.clock.advance(5000);
  await stage.stream.head();
  await stage.stream.push({ type: "$line", token: "t" });
  // Nobody would take up again what it may have been granted.
  assert.equal(stage.socket.closed, 1000);
  // What comes late on the one that was given up is not heard.
  stage.socket.receive({ type: "$reply", id: 0, payload: welcome({ connection: "late" }) });
  const [hello] = await stage.posted();
  await stage.tell({ type: "$reply", id: hello.id, payload: welcome() });
  assert.equal(stage.line.connection, "c1");
});

test("a word of the server ends the attempt: no other way would hear another", async () => {
  for (const [code, status] of [[4401, "closed"], [4410, "closed"], [1012, "waiting"], [1013, "waiting"]]) {
    const stage = new Crossroads();
    stage.socket.accept();
    stage.socket.end(code, "said so");
    await settle();
    assert.deepEqual([stage.line.status, stage.requests.length], [status, 0]);
    stage.line.close();
  }
  const stage = new Crossroads({ token: "bad" });
  stage.socket.end();
  await settle();
  await stage.stream.head();
  await stage.stream.push({ type: "$line", token: "t" });
  await stage.posted();
  await stage.tell({ type: "$closed", payload: { code: 4401, reason: "expired" } });
  assert.deepEqual(stage.statuses.at(-1), { status: "closed", code: 4401, reason: "expired" });
  assert.equal(stage.clock.timers, 0);
});

test("where nothing passes the line waits, says why the best way failed, and tries them all again", async () => {
  const stage = new Crossroads();
  stage.socket.end(1006, "blocked");
  await settle();
  await stage.stream.answer(403, "<html>No.</html>", { "content-type": "text/html" });
  await stage.poll.answer(200, "<html>Sign in!</html>", { "content-type": "text/html" });
  assert.deepEqual(stage.statuses.at(-1), { status: "waiting", retryIn: 500, code: 1006, reason: "blocked" });
  await stage.clock.advance(500);
  assert.equal(stage.sockets.length, 2);
  stage.socket.end();
  await stage.openOver("stream");
  assert.equal(stage.line.transport, "stream");
});

test("a server that restarts or is too busy says so over HTTP, and is left alone as long as it says", async () => {
  for (const [status, code, retryIn, told] of [[503, "unavailable", 7500, 1012], [429, "too_many", 11_000, 1013]]) {
    const stage = new Crossroads();
    stage.socket.end();
    await settle();
    await stage.stream.problem(status, code, { "retry-after": "7" });
    assert.deepEqual(stage.statuses.at(-1), { status: "waiting", retryIn, code: told, reason: "no" });
    assert.equal(stage.asked("GET", "/poll").length, 0);
    stage.line.close();
  }
  // What stands in front of a server is not the server.
  const stage = new Crossroads();
  stage.socket.end();
  await settle();
  await stage.stream.answer(503, "busy");
  assert.equal(stage.asked("GET", "/poll").length, 1);
});

test("a line that was open on a way tries that one first, and another only if it fails", async () => {
  const stage = new Crossroads();
  await stage.open();
  stage.socket.end();
  await stage.clock.advance(500);
  // Whoever is asked by a crowd that comes back is slow: no reason to ask twice.
  await stage.clock.advance(9000);
  assert.equal(stage.requests.length, 0);
  stage.socket.end();
  await stage.clock.advance(1000);
  stage.socket.end();
  assert.equal((await stage.openOver("stream", { resumed: true, subscriptions: [] })).resume, "secret-1");
  assert.equal(stage.line.transport, "stream");
});

test("on another network a line that was open on a way does not rely on it", async () => {
  const stage = new Crossroads();
  await stage.open();
  stage.socket.end();
  stage.window.fire("online");
  stage.socket.end();
  await stage.openOver("stream", { resumed: true });
  assert.equal(stage.line.transport, "stream");
});

test("the next page of the origin goes at once where the last one got through, for half an hour", async () => {
  const localStorage = new FakeStorage();
  const page = () => ({ window: Object.assign(new FakeTarget(), { localStorage }), document: new FakeTarget() });
  const first = await fallen({ page: page(), url: "ws://blocked.test/openline?page=1" });
  first.line.close();
  const second = new Crossroads({ page: page(), url: "ws://blocked.test/openline?page=2" });
  assert.equal(second.sockets.length, 0);
  await second.openOver("stream");
  // What is known to be blocked is not tried again so soon.
  await second.live(59_999);
  assert.equal(second.sockets.length, 0);
  await second.live(1);
  await second.open({ resumed: true, subscriptions: [] });
  assert.deepEqual([second.line.transport, localStorage.items.size], ["websocket", 0]);
  second.line.close();
  const third = new Crossroads({ page: page(), url: "ws://blocked.test/openline?page=3" });
  assert.equal(third.sockets.length, 1);
  third.line.close();
});

test("what an earlier page remembered too long ago, or what is no way, is not believed", async () => {
  const localStorage = new FakeStorage();
  const page = () => ({ window: Object.assign(new FakeTarget(), { localStorage }), document: new FakeTarget() });
  for (const word of ["stream -800000", "stream", "carrier-pigeon 1000000", "", "stream 99999999999"]) {
    localStorage.items.set("openline ws://known.test/openline", word);
    const stage = new Crossroads({ page: page(), url: `ws://known.test/openline?${encodeURIComponent(word)}` });
    assert.equal(stage.sockets.length, 1, word);
    stage.line.close();
  }
  const forbidden = Object.defineProperty(new FakeTarget(), "localStorage", { get: () => assert.fail("no storage here") });
  const stage = await fallen({ page: { window: forbidden, document: new FakeTarget() } });
  assert.equal(stage.line.transport, "stream");
});

test("a better way is looked for beside the line that works, less and less often", async () => {
  const stage = await fallen();
  const chat = await stage.joinOver(LOBBY);
  const messages = heard(chat);
  let wait = TRY_MS;
  for (let tries = 0; tries < 8; tries += 1) {
    assert.equal(stage.sockets.length, 1 + tries);
    await stage.live(wait);
    assert.equal(stage.sockets.length, 2 + tries);
    await stage.tell(said(LOBBY, 11 + tries));
    stage.socket.end();
    wait = Math.min(600_000, wait * 2);
  }
  assert.deepEqual(messages, [11, 12, 13, 14, 15, 16, 17, 18]);
  assert.deepEqual(stage.statuses.map(({ status }) => status), ["open"]);
});

test("a line that moves up loses nothing, doubles nothing, and nobody has to know", async () => {
  const stage = await fallen();
  const chat = await stage.joinOver(LOBBY, { presence: true }, { presence: { count: 1, members: [] } });
  const [messages, direct] = [heard(chat), heard(stage.line, "mail")];
  await stage.tell(said(LOBBY, 11));
  const published = chat.publish("message", "under way");
  await settle();
  const [first] = await stage.posted();
  await stage.clock.advance(TRY_MS);
  stage.socket.accept();
  const hello = stage.socket.sent[0];
  assert.deepEqual(hello, { type: "$connect", id: 0, resume: "secret-1", since: "e.11" });
  // The stream goes on until the server has made up its mind.
  await stage.tell(said(LOBBY, 12), { type: "mail", payload: "hi", position: "e.13" });
  const { stream } = stage;
  stage.socket.reply("$connect", welcome({ resume: "secret-2", resumed: true, position: "e.14", subscriptions: kept }));
  await settle();
  assert.equal(stream.reason, "aborted");
  stage.socket.receive(said(LOBBY, 12), { type: "mail", payload: "hi", position: "e.13" }, said(LOBBY, 14));
  assert.deepEqual([messages, direct], [[11, 12, 14], ["hi"]]);
  // Who came and went meanwhile is asked for, and what was under way is said again with its key.
  stage.socket.take("$presence");
  assert.equal(stage.socket.reply("message", { position: "e.15" }).key, first.key);
  assert.deepEqual(await published, { position: "e.15" });
  assert.deepEqual([stage.moves, stage.line.transport], [["stream", "websocket"], "websocket"]);
  assert.deepEqual(stage.statuses.map(({ status }) => status), ["open"]);
  assert.equal((await stage.again({ resumed: true, subscriptions: kept })).resume, "secret-2");
});

test("a stream that the server ends because the better line took over is no break", async () => {
  const stage = await fallen();
  await stage.clock.advance(TRY_MS);
  stage.socket.accept();
  await stage.tell({ type: "$closed", payload: { code: 4409, reason: "elsewhere" } });
  assert.equal(stage.line.status, "open");
  stage.socket.reply("$connect", welcome({ resumed: true, subscriptions: [] }));
  await settle();
  assert.deepEqual(stage.statuses.map(({ status }) => status), ["open"]);
  assert.equal(stage.line.transport, "websocket");
});

test("a stream that breaks while the better line asks for the connection leaves it to that one", async () => {
  const stage = await fallen();
  await stage.clock.advance(TRY_MS);
  stage.socket.accept();
  await stage.stream.fail();
  assert.deepEqual([stage.line.status, stage.alive.length], ["connecting", 1]);
  stage.socket.reply("$connect", welcome({ resumed: true, subscriptions: [] }));
  assert.equal(stage.line.status, "open");
});

test("a better line that took over and then says nothing is given up, and the line comes back below", async () => {
  const stage = await fallen();
  await stage.clock.advance(TRY_MS);
  stage.socket.accept();
  await stage.tell({ type: "$closed", payload: { code: 4409, reason: "elsewhere" } });
  await stage.clock.advance(10_000);
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500);
  await stage.openOver("stream", { resumed: true, subscriptions: [] });
  assert.deepEqual([stage.line.status, stage.line.transport], ["open", "stream"]);
});

test("an attempt of its own that comes late takes the connection away, and the line takes it back", async () => {
  const stage = new Crossroads();
  stage.socket.accept();
  await stage.clock.advance(5000);
  await stage.openOver("stream");
  await stage.tell({ type: "$closed", payload: { code: 4409, reason: "elsewhere" } });
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500);
  assert.equal((await stage.openOver("stream", { resumed: true })).resume, "secret-1");
  // Nothing of its own is about any more: then it was somebody else.
  await stage.live(70_000);
  await stage.tell({ type: "$closed", payload: { code: 4409, reason: "elsewhere" } });
  assert.equal(stage.line.status, "closed");
});

test("a page that nobody sees looks for nothing better until somebody does", async () => {
  const stage = await fallen();
  stage.document.hidden = true;
  await stage.clock.advance(30_000);
  assert.equal(stage.sockets.length, 1);
  stage.document.hidden = false;
  stage.document.fire("visibilitychange");
  assert.equal(stage.sockets.length, 2);
});

test("a network that comes back is a reason to look for something better at once", async () => {
  const stage = await fallen();
  stage.window.fire("online");
  assert.equal(stage.sockets.length, 2);
  await stage.open({ resumed: true, subscriptions: [] });
  assert.equal(stage.line.transport, "websocket");
});

test("a stream that is held back in the middle is left alone for a while", async () => {
  const stage = await fallen();
  await stage.clock.advance(TRY_MS);
  stage.socket.end();
  await stage.clock.advance(20_000);
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500);
  stage.socket.end();
  await settle();
  await stage.openOver("poll", { resumed: true, subscriptions: [] });
  assert.equal(stage.line.transport, "poll");
});

test("the application says what may carry the line, and in which order", async () => {
  const stage = new Crossroads({ transports: ["poll", "stream"] });
  await settle();
  assert.equal(stage.sockets.length, 0);
  await stage.openOver("poll");
  assert.equal(stage.line.transport, "poll");
  await stage.clock.advance(TRY_MS);
  assert.equal(stage.asked("GET", "/events").length, 0);
  for (const transports of [[], ["websockets"], "websocket"]) {
    assert.throws(() => connect("ws://wrong.test/", { transports }), TypeError);
  }
});

test("without a WebSocket requests carry the line", async (t) => {
  const builtIn = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  delete globalThis.WebSocket;
  t.after(() => builtIn && Object.defineProperty(globalThis, "WebSocket", builtIn));
  const stage = new Crossroads({ WebSocket: undefined });
  await stage.openOver("stream");
  assert.equal(stage.line.transport, "stream");
  await stage.clock.advance(TRY_MS);
  assert.equal(stage.line.status, "open");
});

test("a page that is put aside holds no request open, and takes the line up where it went", async () => {
  const stage = await fallen();
  const { stream } = stage;
  stage.window.fire("pagehide", { persisted: true });
  assert.deepEqual([stream.reason, stage.clock.timers], ["aborted", 0]);
  stage.window.fire("pageshow", { persisted: true });
  assert.equal((await stage.openOver("stream", { resumed: true })).resume, "secret-1");
});

test("a line that is closed while it looks for something better leaves nothing behind", async () => {
  const stage = await fallen();
  const emitted = errorOf(stage.line.emit("save"));
  await stage.clock.advance(TRY_MS);
  stage.line.close();
  assert.equal((await emitted).code, "closed");
  await stage.ask("DELETE", "/openline").answer(204);
  assert.deepEqual([stage.alive.length, stage.requests.filter(({ open }) => open).length, stage.clock.timers], [0, 0, 0]);
});
