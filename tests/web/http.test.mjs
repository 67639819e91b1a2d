/** A line over plain HTTP: what is posted, what is polled, what a stream says, and what failures mean. */

import assert from "node:assert/strict";
import { test } from "node:test";
import "../../src/openline/web/sdk/openline/http.js";
import { Crossroads } from "./requests.mjs";
import { heard, said, settle } from "./stage.mjs";

const LOBBY = "chat:lobby";

async function opened(way, options) {
  const stage = new Crossroads({ transports: [way], ...options });
  await stage.openOver(way);
  return stage;
}

test("requests go where the WebSocket would have gone, name the line, and say that they are JSON", async () => {
  for (const way of ["stream", "poll"]) {
    const stage = await opened(way, { url: `wss://mounted.test/live/openline?desk&way=${way}` });
    const [first, hello] = stage.requests;
    assert.deepEqual([first.method, first.path, first.query], ["GET", `/live/openline/${way === "stream" ? "events" : "poll"}`, `?desk&way=${way}`]);
    assert.deepEqual(first.headers, {});
    assert.deepEqual([hello.method, hello.path, hello.query], ["POST", "/live/openline", `?desk&way=${way}`]);
    assert.deepEqual(hello.headers, { "openline-line": "token-1", "content-type": "application/json" });
    if (way === "poll") assert.deepEqual([stage.poll.query, stage.poll.headers], ["?desk&way=poll&after=2", { "openline-line": "token-1" }]);
    stage.line.close();
  }
});

test("what is said in one turn goes in one request, and what is said meanwhile in the next", async () => {
  const stage = await opened("stream");
  const saved = [1, 2, 3].map((n) => stage.line.emit("save", n));
  await settle();
  stage.line.emit("save", 4).catch(() => {});
  await settle();
  assert.equal(stage.asked("POST", "/openline").length, 1);
  const frames = await stage.posted();
  assert.deepEqual(frames.map(({ payload }) => payload), [1, 2, 3]);
  await stage.tell(...frames.map(({ id, payload }) => ({ type: "$reply", id, payload })));
  assert.deepEqual(await Promise.all(saved), [1, 2, 3]);
  assert.deepEqual((await stage.posted()).map(({ payload }) => payload), [4]);
});

test("a request holds no more than the server takes at once", async () => {
  const stage = new Crossroads({ transports: ["stream"] });
  await stage.openOver("stream", { limits: { message: 1000 } });
  for (let n = 0; n < 10; n += 1) stage.line.emit("save", "é".repeat(150)).catch(() => {});
  await settle();
  const counts = [];
  while (stage.asked("POST", "/openline").length > 0) {
    const { body } = stage.ask("POST", "/openline");
    assert.ok(Buffer.byteLength(JSON.stringify(body)) <= 1000);
    counts.push((await stage.posted()).length);
  }
  assert.equal(counts.reduce((sum, count) => sum + count), 10);
  assert.ok(Math.max(...counts) > 1);
});

test("a request holds no more than a thousand commands", async () => {
  const stage = await opened("stream", {});
  for (let n = 0; n < 1001; n += 1) stage.line.subscribe(`a:${n}`);
  await settle();
  const counts = [];
  while (stage.asked("POST", "/openline").length > 0) counts.push((await stage.posted()).length);
  assert.deepEqual(counts, [1000, 1]);
});

test("what is too much for somebody on the way is sent in smaller parts, and what fits in none is turned down", async () => {
  const stage = await opened("stream");
  const outcomes = ["a", "b".repeat(3000), "c"].map((payload) => stage.line.emit("save", payload).catch(({ code }) => code));
  await settle();
  const arrived = [];
  while (stage.asked("POST", "/openline").length > 0) {
    const post = stage.ask("POST", "/openline");
    const frames = [post.body].flat();
    if (JSON.stringify(post.body).length > 2000) await post.answer(413, "too much");
    else {
      await post.answer(204);
      arrived.push(...frames);
      await stage.tell(...frames.map(({ id, payload }) => ({ type: "$reply", id, payload })));
    }
  }
  assert.deepEqual(await Promise.all(outcomes), ["a", "too_large", "c"]);
  assert.deepEqual(arrived.map(({ payload }) => payload), ["a", "c"]);
});

test("a server that has enough to do gets the same again, later", async () => {
  const stage = await opened("poll");
  stage.line.emit("save", 1).catch(() => {});
  await settle();
  await stage.ask("POST", "/openline").problem(429, "too_many", { "retry-after": "2" });
  stage.line.emit("save", 2).catch(() => {});
  await stage.clock.advance(1999);
  assert.equal(stage.asked("POST", "/openline").length, 0);
  await stage.clock.advance(1);
  assert.deepEqual((await stage.posted()).map(({ payload }) => payload), [1, 2]);
  assert.equal(stage.line.status, "open");
});

test("nobody on the way makes the line wait longer than a minute", async () => {
  for (const asked of ["3600", "9999999999"]) {
    const stage = await opened("stream");
    stage.line.emit("save", 1).catch(() => {});
    await settle();
    await stage.ask("POST", "/openline").problem(429, "too_many", { "retry-after": asked });
    await stage.clock.advance(30_000);
    await stage.tell({ type: "$ping" });
    await stage.clock.advance(29_999);
    assert.equal(stage.asked("POST", "/openline").length, 0);
    await stage.clock.advance(1);
    await stage.ask("POST", "/openline").answer(503, "maintenance", { "retry-after": asked });
    assert.deepEqual(stage.statuses.at(-1), { status: "waiting", retryIn: 60_500, code: 1006, reason: "503 " });
    stage.line.close();
  }
});

test("a request that fails, or is not answered for 20 s, breaks the line: what was under way is said again with its key", async () => {
  const failures = [
    (post) => post.fail(),
    (post) => post.answer(502, "bad gateway"),
    (post) => post.problem(404, "unknown_line"),
    (_, stage) => stage.clock.advance(20_000),
  ];
  for (const fail of failures) {
    const stage = await opened("stream");
    const saved = stage.line.emit("save", 1);
    await settle();
    const post = stage.ask("POST", "/openline");
    const [{ key }] = [post.body].flat();
    await fail(post, stage);
    assert.equal(stage.line.status, "waiting");
    assert.equal(stage.requests.filter(({ open }) => open).length, 0);
    await stage.clock.advance(2000);
    const hello = await stage.openOver("stream", { resumed: true });
    assert.equal(hello.resume, "secret-1");
    const [again] = await stage.posted();
    assert.equal(again.key, key);
    await stage.tell({ type: "$reply", id: again.id, payload: 1 });
    assert.equal(await saved, 1);
    stage.line.close();
  }
});

test("an event stream is read however it is cut into pieces, and however its lines end", async () => {
  const frames = [said(LOBBY, 11, "é\u2028€"), said(LOBBY, 12, "two")];
  for (const newline of ["\n", "\r\n"]) {
    const text = frames.map((frame) => `: comment${newline}data: ${JSON.stringify(frame)}${newline}${newline}`).join("");
    for (const size of [1, 3, 7, 1000]) {
      const stage = await opened("stream");
      const messages = heard(await stage.joinOver(LOBBY));
      for (let at = 0; at < text.length; at += size) await stage.stream.bytes(text.slice(at, at + size));
      await stage.stream.bytes(`retry: 5${newline}${newline}:${newline}${newline}data: no JSON${newline}${newline}`);
      assert.deepEqual(messages, ["é\u2028€", "two"]);
      stage.line.close();
    }
  }
});

test("a stream that ends is a line that broke, one that says why is a line that was closed", async () => {
  const stage = await opened("stream");
  await stage.stream.end();
  assert.deepEqual(stage.statuses.at(-1), { status: "waiting", retryIn: 500, code: 1006, reason: "the stream ended" });
  await stage.clock.advance(500);
  await stage.openOver("stream", { resumed: true });
  await stage.tell({ type: "$closed", payload: { code: 1012, reason: "The server restarts." } });
  assert.equal(stage.statuses.at(-1).code, 1012);
  await stage.clock.advance(1000);
  await stage.openOver("stream");
  await stage.tell({ type: "$closed", payload: { code: 4410, reason: "banned" } });
  assert.deepEqual(stage.statuses.at(-1), { status: "closed", code: 4410, reason: "banned" });
});

test("what is no event stream carries nothing", async () => {
  for (const head of [(stream) => stream.head("text/html"), (stream) => stream.answer(204)]) {
    const stage = new Crossroads({ transports: ["stream"] });
    await settle();
    await head(stage.stream);
    assert.equal(stage.line.status, "waiting");
    stage.line.close();
  }
});

test("the server's ping is answered in a request", async () => {
  const stage = await opened("stream");
  await stage.tell({ type: "$ping" });
  assert.deepEqual(await stage.posted(), [{ type: "$pong" }]);
});

test("polls follow each other, and name the last answer that came", async () => {
  const stage = await opened("poll");
  const messages = heard(await stage.joinOver(LOBBY));
  assert.equal(stage.poll.query, "?after=3");
  await stage.tell(said(LOBBY, 11), said(LOBBY, 12));
  assert.equal(stage.poll.query, "?after=4");
  await stage.poll.answer(200, [], { "openline-batch": "4" });
  await stage.clock.advance(250);
  assert.equal(stage.poll.query, "?after=4");
  assert.equal(stage.asked("GET", "/poll").length, 1);
  assert.deepEqual(messages, [11, 12]);
});

test("a poll that fails on its way is asked again for the same, and an answer that came already is not heard twice", async () => {
  const stage = await opened("poll");
  const messages = heard(await stage.joinOver(LOBBY));
  const polls = [(poll) => poll.fail(), (poll) => poll.answer(504, "too long"), (poll) => poll.answer(200, "{}")];
  for (const [at, fail] of polls.entries()) {
    await fail(stage.poll);
    await stage.clock.advance(500 * 2 ** at);
    assert.equal(stage.poll.query, "?after=3");
  }
  await stage.tell(said(LOBBY, 11));
  await stage.poll.answer(200, [said(LOBBY, 11)], { "openline-batch": "4" });
  await stage.clock.advance(250);
  await stage.tell(said(LOBBY, 12));
  assert.deepEqual(messages, [11, 12]);
  for (let failures = 0; failures < 4; failures += 1) {
    await stage.poll.fail();
    await stage.clock.advance(4000);
  }
  assert.notEqual(stage.line.status, "open");
});

test("a line that the server does not know any more is taken up on another", async () => {
  const stage = await opened("poll");
  await stage.poll.problem(404, "unknown_line");
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500 + 1000);
  assert.equal((await stage.openOver("poll", { resumed: true })).resume, "secret-1");
  assert.equal(stage.line.status, "open");
});

test("a line that says nothing is dead, polled or streamed", async () => {
  for (const way of ["stream", "poll"]) {
    const stage = await opened(way);
    await stage.clock.advance(34_999);
    assert.equal(stage.line.status, "open");
    await stage.clock.advance(1);
    assert.equal(stage.line.status, "waiting");
    stage.line.close();
  }
});

test("a page that becomes visible asks for a sign of life", async () => {
  const stage = await opened("stream");
  stage.document.fire("visibilitychange");
  await settle();
  assert.deepEqual((await stage.posted())[0], { type: "$ping" });
  await stage.stream.bytes(":\n\n");
  await stage.clock.advance(10_000);
  assert.equal(stage.line.status, "open");
});

test("the goodbye is a request that outlives the page, and the stream ends behind it", async () => {
  const stage = await opened("stream");
  const { stream } = stage;
  stage.window.fire("pagehide", { persisted: false });
  await settle();
  const goodbye = stage.ask("DELETE", "/openline");
  assert.deepEqual([goodbye.keepalive, goodbye.headers, stream.open], [true, { "openline-line": "token-1" }, true]);
  await goodbye.answer(204);
  assert.deepEqual([stream.reason, stage.clock.timers], ["aborted", 0]);
});

test("a goodbye that nobody answers does not keep the stream, and what rests does not outlive the line", async () => {
  const stage = await opened("stream");
  const { stream } = stage;
  stage.line.close();
  await settle();
  assert.equal(stream.open, true);
  await stage.clock.advance(20_000);
  assert.deepEqual([stream.reason, stage.clock.timers], ["aborted", 0]);

  const polled = await opened("poll");
  polled.line.emit("save", 1).catch(() => {});
  await settle();
  await polled.ask("POST", "/openline").problem(429, "too_many", { "retry-after": "9" });
  await polled.poll.answer(200, [], { "openline-batch": `${polled.batch}` });
  polled.line.close();
  await polled.ask("DELETE", "/openline").answer(204);
  assert.equal(polled.clock.timers, 0);
});

test("cookies of another site go with the requests where they count, and are left out where they do not", async () => {
  const stage = new Crossroads({ transports: ["stream"] });
  await settle();
  assert.equal(stage.stream.credentials, "include");
  await stage.stream.fail("CORS");
  assert.equal(stage.stream.credentials, "omit");
  await stage.openOver("stream");
  assert.deepEqual(stage.requests.slice(2).map(({ credentials }) => credentials), ["omit"]);
});

test("a volatile publication is passed, or dropped where too much waits", async () => {
  const stage = await opened("stream");
  const chat = await stage.joinOver(LOBBY);
  const passed = chat.publish("cursor", 1, { volatile: true });
  await settle();
  const [{ id, volatile }] = await stage.posted();
  assert.equal(volatile, true);
  await stage.tell({ type: "$reply", id, payload: {} });
  assert.deepEqual(await passed, {});
});

test("what a hello is refused with is what the line ends with", async () => {
  for (const [error, status] of [[{ code: "unauthorized" }, "closed"], [{ code: "already_connected" }, "waiting"], [{ code: "too_many", retry: true }, "waiting"]]) {
    const stage = new Crossroads({ transports: ["poll"] });
    await settle();
    Object.assign(stage, { way: "poll", batch: 0 });
    await stage.tell({ type: "$line", token: "t" });
    await stage.posted();
    await stage.tell({ type: "$error", id: 0, message: "no", ...error });
    assert.equal(stage.line.status, status);
    stage.line.close();
  }
});
