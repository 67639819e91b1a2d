/** What goes along with `$connect`: subscriptions that were there before the line was open. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Crossroads } from "./requests.mjs";
import { Stage, errorOf, heard, said, settle } from "./stage.mjs";

const types = (stage, at = -1) => stage.socket.messages.at(at).map(({ type, channel }) => channel ?? type);
const joined = (channel, more = {}) => ({ channel, position: "e.10", publications: [], ...more });

/** A stage whose socket is open, with what was asked for on it. */
async function asked(names, { subscribe = {}, ...options } = {}) {
  const stage = new Stage(options);
  stage.channels = names.map((name) => stage.line.subscribe(name, subscribe));
  await settle();
  stage.socket.accept();
  return stage;
}

const granted = (stage, more = {}) =>
  stage.socket.reply("$connect", { connection: "c1", resume: "s", position: "e.10", resumed: false, ...more });

test("what is subscribed to by then is asked for in the message of $connect, once", async () => {
  const stage = await asked(["a", "b"], { subscribe: { last: 3, presence: true } });
  const [connect, ...others] = stage.socket.messages[0];
  assert.deepEqual([connect.type, connect.id], ["$connect", 0]);
  assert.deepEqual(others.map(({ id, ...frame }) => frame), [
    { type: "$subscribe", channel: "a", last: 3, presence: true },
    { type: "$subscribe", channel: "b", last: 3, presence: true },
  ]);
  granted(stage);
  const messages = heard(stage.channels[0]);
  stage.socket.reply("$subscribe", joined("a", { publications: [said("a", 9)], presence: { count: 1, members: [] } }));
  stage.socket.receive(said("a", 11));
  assert.deepEqual([messages, stage.channels[0].count], [[9, 11], 1]);
  assert.deepEqual(await stage.channels[0].ready, { position: "e.10", recovered: undefined });
  assert.deepEqual([stage.socket.messages.length, stage.socket.sent.map(({ channel }) => channel)], [1, ["b"]]);
});

test("a subscription of many pages goes on where its first answer ends", async () => {
  const stage = await asked(["a"], { subscribe: { since: "e.1" } });
  granted(stage);
  stage.socket.reply("$subscribe", joined("a", { position: "e.5", more: true, recovered: true }));
  assert.equal(stage.socket.reply("$subscribe", joined("a", { recovered: true })).since, "e.5");
  assert.deepEqual(await stage.channels[0].ready, { position: "e.10", recovered: true });
});

test("what is subscribed to between the asking and the reply is asked for behind it", async () => {
  const stage = await asked(["a"]);
  stage.line.subscribe("b");
  assert.deepEqual(stage.socket.messages.length, 1);
  granted(stage);
  assert.deepEqual(stage.socket.messages.map((frames) => frames.map(({ type, channel }) => channel ?? type)), [
    ["$connect", "a"],
    ["b"],
  ]);
});

test("what is left between the asking and the reply is left on the server too, unless it is joined again", async () => {
  const stage = await asked(["a", "b"]);
  const [a, b] = stage.channels;
  a.unsubscribe();
  b.unsubscribe();
  const again = stage.line.subscribe("b");
  granted(stage);
  stage.socket.reply("$subscribe", joined("a"));
  stage.socket.reply("$subscribe", joined("b"));
  assert.deepEqual(stage.socket.sent.map(({ type, channel }) => [type, channel]), [["$unsubscribe", "a"], ["$subscribe", "b"]]);
  stage.socket.reply("$subscribe", joined("b"));
  await again.ready;
  assert.equal((await errorOf(b.ready)).code, "closed");
});

test("a refused $connect is told as ever, and what went along is asked for anew with the next one", async () => {
  let token = "old";
  const stage = await asked(["a"], { token: () => token });
  token = "new";
  const { socket } = stage;
  socket.refuse("$connect", { code: "unauthorized" });
  const { id } = socket.take("$subscribe");
  socket.receive({ type: "$error", id, code: "unauthorized", message: "no" });
  await settle();
  assert.deepEqual(stage.statuses.map(({ status }) => status), ["connecting"]);
  stage.socket.accept();
  assert.deepEqual(types(stage), ["$connect", "a"]);
  granted(stage);
  stage.socket.reply("$subscribe", joined("a"));
  await stage.channels[0].ready;
});

test("a subscription that is refused for itself ends, and the line goes on", async () => {
  const stage = await asked(["a"]);
  granted(stage);
  stage.socket.refuse("$subscribe", { code: "forbidden" });
  assert.equal((await errorOf(stage.channels[0].ready)).code, "forbidden");
  assert.equal(stage.line.status, "open");
});

test("a subscription that may succeed later is asked for again, and once where the line breaks before that", async () => {
  const stage = await asked(["a"]);
  granted(stage);
  stage.socket.refuse("$subscribe", { code: "failed", retry: true });
  stage.socket.end(1011);
  await stage.clock.advance(500);
  await stage.open();
  assert.deepEqual(stage.socket.sent.map(({ channel }) => channel), ["a"]);
});

test("a connection that is taken up again asks for nothing along, and one that is refused for good does", async () => {
  const stage = await asked(["a"]);
  granted(stage);
  stage.socket.reply("$subscribe", joined("a"));
  stage.socket.receive(said("a", 12));
  stage.socket.end();
  await stage.clock.advance(500);
  stage.socket.accept();
  assert.deepEqual(types(stage), ["$connect"]);
  stage.socket.refuse("$connect", { code: "forbidden" });
  await stage.clock.advance(1000);
  stage.socket.accept();
  assert.deepEqual(stage.socket.messages[0].map(({ since, resume }) => [since, resume]), [
    [undefined, undefined],
    ["e.12", undefined],
  ]);
});

test("an attempt that resumes nothing and is given up ends what it may have been granted", async () => {
  const stage = await asked(["a"]);
  const { socket } = stage;
  stage.window.fire("online");
  await settle();
  assert.deepEqual([socket.closed, stage.sockets.length], [1000, 2]);
  stage.socket.accept();
  assert.deepEqual(types(stage), ["$connect", "a"]);
  granted(stage);
  stage.socket.reply("$subscribe", joined("a"));
  await stage.channels[0].ready;
  // From here on there is something to come back to.
  stage.socket.end();
  stage.window.fire("online");
  stage.socket.accept();
  const resuming = stage.socket;
  stage.window.fire("online");
  await settle();
  assert.equal(resuming.closed, 4501);
});

test("a line that is closed before the reply ends everything", async () => {
  const stage = await asked(["a"]);
  stage.line.close();
  assert.deepEqual([(await errorOf(stage.channels[0].ready)).code, stage.socket.closed], ["closed", 1000]);
  assert.equal(stage.clock.timers, 0);
});

test("more than fits goes when the line is open", async () => {
  const names = Array.from({ length: 300 }, (_, number) => `channel:${number}`);
  const stage = await asked(names);
  const [first] = stage.socket.messages;
  assert.ok(first.length > 50 && JSON.stringify(first).length < 8192 + 100);
  granted(stage);
  const all = stage.socket.messages.flat().filter(({ type }) => type === "$subscribe");
  assert.deepEqual(all.map(({ channel }) => channel), names);
});

test("a server that takes less at once is asked for one thing after the other", async () => {
  const stage = await asked(["a", "b"]);
  stage.socket.end(1009, "too big");
  assert.equal(stage.line.status, "waiting");
  await stage.clock.advance(500);
  await stage.open({ limits: { message: 1024 } });
  assert.deepEqual(stage.socket.messages.map((frames) => frames.length), [1, 1, 1]);
  stage.socket.end(1009, "too big");
  assert.equal(stage.line.status, "closed");
});

test("who takes less at once says so over the best way, and is not left for another", async () => {
  for (const code of [1009, 4009]) {
    const stage = new Crossroads();
    stage.line.subscribe("a");
    await settle();
    stage.socket.accept();
    stage.socket.end(code);
    await settle();
    assert.deepEqual([stage.line.status, stage.requests.length], ["waiting", 0]);
    await stage.clock.advance(500);
    await settle();
    stage.socket.accept();
    assert.deepEqual(types(stage), ["$connect"]);
    stage.line.close();
  }
});

test("once it is known how much the server takes, no more goes along than half of that", async () => {
  const names = Array.from({ length: 100 }, (_, number) => `channel:${number}`);
  const stage = await asked(names);
  granted(stage, { limits: { message: 1024 } });
  stage.socket.end(1006);
  await stage.clock.advance(500);
  await settle();
  stage.socket.accept();
  stage.socket.refuse("$connect", { code: "forbidden", message: "no" });
  await stage.clock.advance(20_000);
  await settle();
  stage.socket.accept();
  const [message] = stage.socket.messages;
  assert.ok(message.length > 1 && JSON.stringify(message).length < 1024, `${JSON.stringify(message).length}`);
});

test("what no server could read is refused when the line is open, and hinders nobody", async () => {
  const stage = await asked(["a\ud800", "b"]);
  assert.deepEqual(types(stage), ["$connect"]);
  granted(stage);
  assert.equal((await errorOf(stage.channels[0].ready)).code, "bad_payload");
  stage.socket.reply("$subscribe", joined("b"));
  await stage.channels[1].ready;
});
