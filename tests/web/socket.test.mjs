/** One attempt to open a line: token, deadline, silence, and when to try again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { comesBack, delay } from "../../src/openline/web/sdk/openline/socket.js";
import { Stage, settle } from "./stage.mjs";

test("the delay before a try is any share of a bound that doubles up to 20 s", () => {
  for (let tries = 0; tries < 40; tries += 1) {
    const bound = Math.min(20_000, 500 * 2 ** tries);
    assert.equal(delay(tries, () => 0), 0);
    assert.equal(delay(tries, () => 0.5), bound / 2);
    for (let draw = 0; draw < 50; draw += 1) {
      const ms = delay(tries, Math.random);
      assert.ok(ms >= 0 && ms < bound);
    }
  }
});

test("the close code says whether to come back", () => {
  const stays = [1000, 1002, 1003, 1007, 1008, 1009, 4000, 4401, 4403, 4404, 4409, 4410, 4499];
  const returns = [1001, 1005, 1006, 1010, 1011, 1012, 1013, 1014, 1015, 3000, 4500, 4501, 4999];
  assert.deepEqual(stays.filter(comesBack), []);
  assert.deepEqual(returns.filter((code) => !comesBack(code)), []);
});

test("the first command is $connect, without a token if there is none", async () => {
  const stage = new Stage();
  assert.deepEqual(await stage.open(), { type: "$connect", id: 0 });
  assert.equal(stage.line.status, "open");
});

test("a token that is a string, or a function, or a promise goes into $connect", async () => {
  for (const token of ["t", () => "t", async () => "t"]) {
    assert.deepEqual(await new Stage({ token }).open(), { type: "$connect", id: 0, token: "t" });
  }
});

test("the token function is asked before every attempt", async () => {
  let asked = 0;
  const stage = new Stage({ token: () => `token-${(asked += 1)}` });
  assert.equal((await stage.open()).token, "token-1");
  assert.equal((await stage.again()).token, "token-2");
});

test("a token function that fails is asked again later", async () => {
  let asked = 0;
  const stage = new Stage({
    token: async () => {
      asked += 1;
      if (asked === 1) throw new Error("offline");
      return "t";
    },
  });
  await settle();
  assert.equal(stage.line.status, "waiting");
  assert.equal(stage.sockets.length, 0);
  await stage.clock.advance(500);
  assert.equal((await stage.open()).token, "t");
});

test("an attempt that hangs is given up after 10 s, wherever it hangs", async () => {
  const hangs = [
    { token: () => new Promise(() => {}), until: () => {} },
    { until: () => {} },
    { until: ({ socket }) => socket.accept() },
  ];
  for (const { until, ...options } of hangs) {
    const stage = new Stage(options);
    await settle();
    until(stage);
    await stage.clock.advance(9_999);
    assert.equal(stage.line.status, "connecting");
    await stage.clock.advance(1);
    assert.equal(stage.line.status, "waiting");
    assert.equal(stage.alive.length, 0);
    stage.line.close();
  }
});

test("a token that comes after its attempt was given up opens nothing", async () => {
  const tokens = [];
  const stage = new Stage({ token: () => new Promise((resolve) => tokens.push(resolve)) });
  await stage.clock.advance(10_500);
  assert.equal(tokens.length, 2);
  tokens[0]("late");
  await settle();
  assert.equal(stage.sockets.length, 0);
  tokens[1]("good");
  assert.equal((await stage.open()).token, "good");
});

test("4401 asks the token function once more, and then no more", async () => {
  let asked = 0;
  const stage = new Stage({ token: () => `token-${(asked += 1)}` });
  await settle();
  stage.socket.accept();
  stage.socket.end(4401, "expired");
  await settle();
  assert.equal(stage.sockets.length, 2);
  stage.socket.accept();
  assert.equal(stage.socket.take().token, "token-2");
  stage.socket.end(4401, "expired");
  await settle();
  assert.deepEqual(stage.statuses.at(-1), { status: "closed", code: 4401, reason: "expired" });
  assert.equal(asked, 2);
});

test("a token that was good for a while is asked for anew", async () => {
  const stage = new Stage({ token: () => "t" });
  for (let times = 0; times < 3; times += 1) {
    await stage.open();
    stage.socket.end(4401);
    await settle();
    assert.equal(stage.line.status, "connecting");
  }
});

test("an error unauthorized counts as 4401, and a token that never changes is not tried again", async () => {
  const stage = new Stage({ token: "t" });
  stage.socket.accept();
  stage.socket.refuse("$connect", { code: "unauthorized" });
  assert.equal(stage.line.status, "closed");
  assert.equal(stage.statuses.at(-1).code, 4401);
});

test("a $connect that is turned down for now is tried again, one that is turned down for good is not", async () => {
  for (const [retry, status] of [[true, "waiting"], [undefined, "closed"]]) {
    const stage = new Stage();
    stage.socket.accept();
    stage.socket.refuse("$connect", { code: "too_many", retry });
    assert.equal(stage.line.status, status);
    stage.line.close();
  }
});

test("a secret that the server cannot read is forgotten, and the line comes back without it", async () => {
  const stage = new Stage();
  await stage.open();
  stage.socket.end();
  await stage.clock.advance(500);
  stage.socket.accept();
  assert.equal(stage.socket.sent[0].resume, "secret-1");
  stage.socket.refuse("$connect", { code: "bad_field", field: "resume" });
  await stage.clock.advance(1000);
  assert.deepEqual(await stage.open(), { type: "$connect", id: 0 });
});

test("nothing at all for ping + 10 s means that the line is dead", async () => {
  const stage = new Stage();
  await stage.open({ ping: 5 });
  await stage.clock.advance(14_999);
  stage.socket.receive({ type: "$ping" });
  assert.deepEqual(stage.socket.take(), { type: "$pong" });
  await stage.clock.advance(14_999);
  assert.equal(stage.line.status, "open");
  await stage.clock.advance(1);
  assert.equal(stage.line.status, "waiting");
  assert.deepEqual(stage.statuses.at(-1), { status: "waiting", retryIn: 500, code: 1006, reason: "nothing was heard" });
  // No clean end: the server keeps the connection for the resume.
  assert.equal(stage.socket.closed, 4501);
});

test("a dead socket's late events change nothing", async () => {
  const stage = new Stage();
  await stage.open();
  const [dead] = stage.sockets;
  const messages = heardAll(stage.line);
  await stage.clock.advance(35_000);
  dead.receive({ type: "message", payload: 1 });
  dead.end(4410);
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500);
  await stage.open();
  dead.receive({ type: "message", payload: 2 });
  dead.end(4410);
  assert.equal(stage.line.status, "open");
  assert.deepEqual(messages, []);
});

function heardAll(line) {
  const payloads = [];
  line.on("message", (payload) => payloads.push(payload));
  return payloads;
}

test("the network that comes back ends the waiting at once", async () => {
  const stage = new Stage();
  await stage.open();
  stage.socket.end();
  assert.equal(stage.line.status, "waiting");
  stage.window.fire("online");
  assert.equal(stage.line.status, "connecting");
  assert.equal(stage.sockets.length, 2);
});

test("the network that comes back starts an attempt anew that hangs on the one before", () => {
  const stage = new Stage();
  stage.window.fire("online");
  assert.equal(stage.sockets.length, 2);
  assert.equal(stage.alive.length, 1);
});

test("a page that becomes visible ends the waiting at once, one that is hidden does not", async () => {
  const stage = new Stage();
  stage.socket.end();
  stage.document.hidden = true;
  stage.document.fire("visibilitychange");
  assert.equal(stage.line.status, "waiting");
  stage.document.hidden = false;
  stage.document.fire("visibilitychange");
  assert.equal(stage.line.status, "connecting");
  stage.document.fire("visibilitychange");
  assert.equal(stage.sockets.length, 2);
});

test("a page that becomes visible asks an open line for a sign of life, and drops it without one", async () => {
  const stage = new Stage();
  await stage.open();
  stage.document.fire("visibilitychange");
  stage.document.fire("visibilitychange");
  assert.deepEqual(stage.socket.sent, [{ type: "$ping" }]);
  stage.socket.receive({ type: "$pong" });
  await stage.clock.advance(10_000);
  assert.equal(stage.line.status, "open");
  stage.document.fire("visibilitychange");
  await stage.clock.advance(10_000);
  assert.equal(stage.line.status, "waiting");
});

test("a WebSocket that cannot be made is tried again", async () => {
  let made = 0;
  const stage = new Stage({
    WebSocket: class {
      constructor() {
        made += 1;
        throw new Error("blocked");
      }
    },
  });
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500);
  assert.equal(made, 2);
});
