/** A page that is put aside, in the back-forward cache or by a browser that saves power, and comes back. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Origin, rest } from "./origin.mjs";
import { Stage, errorOf, heard, said, settle } from "./stage.mjs";

const LOBBY = "chat:lobby";
const kept = [{ channel: LOBBY, recovered: true }];

/** What a browser tells a page that goes into its cache, in this order, and one that comes out of it. */
const ASIDE = (stage) => {
  stage.window.fire("pagehide", { persisted: true });
  stage.document.hidden = true;
  stage.document.fire("visibilitychange");
  stage.document.fire("freeze");
};
const BACK = (stage) => {
  stage.document.fire("resume");
  stage.document.hidden = false;
  stage.document.fire("visibilitychange");
  stage.window.fire("pageshow", { persisted: true });
};
const WAYS = {
  "the cache": [ASIDE, BACK],
  "a cache that tells less": [
    (stage) => stage.window.fire("pagehide", { persisted: true }),
    (stage) => stage.window.fire("pageshow", { persisted: true }),
  ],
  "a tab that is frozen": [(stage) => stage.document.fire("freeze"), (stage) => stage.document.fire("resume")],
};

for (const [name, [aside, back]] of Object.entries(WAYS)) {
  test(`${name}: the line ends so that it can be resumed, holds nothing open, and is back at once`, async () => {
    const stage = new Stage();
    await stage.open();
    const chat = stage.join(LOBBY);
    const messages = heard(chat);
    stage.socket.receive(said(LOBBY, 11));
    aside(stage);
    assert.equal(stage.socket.closed, 4501);
    assert.deepEqual(stage.statuses.at(-1), { status: "waiting", code: 4501, reason: "the page was put aside" });
    assert.equal(stage.clock.timers, 0);
    await stage.clock.advance(60_000);
    assert.equal(stage.sockets.length, 1);
    back(stage);
    await settle();
    assert.equal(stage.sockets.length, 2);
    const { resume, since } = await stage.open({ resumed: true, resume: "secret-2", subscriptions: kept });
    assert.deepEqual([resume, since], ["secret-1", "e.11"]);
    stage.socket.receive(said(LOBBY, 12), said(LOBBY, 13));
    assert.deepEqual(messages, [11, 12, 13]);
    assert.equal(stage.alive.length, 1);
  });
}

test("a page that comes back after the window goes on from where it was, or is told of the gap", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.join(LOBBY);
  const [messages, gaps] = [heard(chat), heard(chat, "$gap")];
  ASIDE(stage);
  await stage.clock.advance(3_600_000);
  BACK(stage);
  await stage.open({ resumed: false, position: "e.90" });
  const { since } = stage.socket.reply("$subscribe", {
    ...{ channel: LOBBY, position: "e.90", recovered: false, publications: [said(LOBBY, 90)] },
  });
  assert.deepEqual([since, gaps, messages], ["e.10", [{ position: "e.90" }], [90]]);
});

test("put aside in the middle of an attempt, or while it waits, it comes back once", async () => {
  for (const before of [() => {}, (stage) => stage.socket.end()]) {
    const stage = new Stage({ token: () => new Promise((resolve) => setImmediate(() => resolve("t"))) });
    await settle();
    before(stage);
    ASIDE(stage);
    await stage.clock.advance(60_000);
    stage.window.fire("online");
    assert.deepEqual([stage.alive.length, stage.clock.timers], [0, 0]);
    BACK(stage);
    await stage.open();
    assert.deepEqual([stage.line.status, stage.alive.length], ["open", 1]);
  }
});

test("a line that was closed stays closed, and a page that is shown for the first time opens nothing anew", async () => {
  const stage = new Stage();
  stage.window.fire("pageshow", { persisted: false });
  assert.equal(stage.sockets.length, 1);
  stage.line.close();
  ASIDE(stage);
  BACK(stage);
  assert.deepEqual([stage.line.status, stage.sockets.length], ["closed", 1]);
});

test("what is under way is sent again when the page is back, with its key", async () => {
  const stage = new Stage();
  await stage.open();
  const chat = stage.join(LOBBY);
  const published = chat.publish("message", "hi");
  const saved = stage.line.emit("save", 1);
  const [{ key }] = stage.socket.sent;
  ASIDE(stage);
  const written = chat.publish("message", "written in the last moment");
  BACK(stage);
  await stage.open({ resumed: true, subscriptions: kept });
  assert.equal(stage.socket.reply("message", { position: "e.11" }).key, key);
  stage.socket.reply("save", "saved");
  stage.socket.reply("message", { position: "e.12" });
  assert.deepEqual(await Promise.all([published, saved, written]), [{ position: "e.11" }, "saved", { position: "e.12" }]);
});

/** A page with a shelf that has joined, and a message that waits there. */
async function waiting(origin) {
  const page = origin.page();
  const chat = page.line.subscribe(LOBBY);
  await rest();
  const published = chat.publish("message", "hi");
  published.catch(() => {});
  await rest();
  return { page, chat, published };
}

test("a page in the cache holds no lock, and takes back what nobody took", async () => {
  const origin = new Origin();
  const { page, published } = await waiting(origin);
  ASIDE(page);
  await rest();
  assert.deepEqual([...origin.held], []);
  assert.equal((await origin.kept()).length, 1);
  BACK(page);
  await page.open();
  await rest();
  assert.equal(origin.held.size, 1);
  page.socket.reply("message", { position: "e.11" });
  assert.deepEqual(await published, { position: "e.11" });
  await rest();
  assert.deepEqual(await origin.kept(), []);
});

test("what another page took meanwhile is published there, and here it is said to be elsewhere", async () => {
  const origin = new Origin();
  const { page, published } = await waiting(origin);
  ASIDE(page);
  await rest();
  const other = origin.page();
  const restored = heard(other.line.subscribe(LOBBY), "$restored");
  await rest();
  assert.deepEqual(restored.map(({ payload }) => payload), ["hi"]);
  BACK(page);
  await rest();
  assert.equal((await errorOf(published)).code, "elsewhere");
  for (const { socket } of [page, other]) socket.accept();
  for (const { socket } of [page, other]) socket.reply("$connect", { connection: "c", resume: "s", position: "e.1" });
  await rest();
  const sent = [page, other].map(({ socket }) => socket.sent.filter(({ type }) => type === "message").length);
  assert.deepEqual(sent, [0, 1]);
});
