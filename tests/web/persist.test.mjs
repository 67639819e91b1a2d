/** Publications that outlive their page: published once, in order, by one page, and as the user who wrote them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { IDBObjectStore } from "fake-indexeddb";
import { Origin, rest } from "./origin.mjs";
import { Stage, errorOf, heard } from "./stage.mjs";

const LOBBY = "chat:lobby";
const MINUTE = 60_000;

/** A page, its channel, and everything that it is told of the shelf. */
function visit(origin, options) {
  const page = origin.page(options);
  const chat = page.line.subscribe(LOBBY);
  return Object.assign(page, {
    chat,
    restored: heard(chat, "$restored"),
    undelivered: heard(page.line, "$undelivered"),
    outbox: heard(page.line, "$outbox"),
  });
}

/** The line of a page opens, and it has joined. */
async function open(page, reply) {
  await page.open(reply);
  if (page.socket.sent.some(({ type }) => type === "$subscribe")) {
    page.socket.reply("$subscribe", { channel: LOBBY, position: "e.10", publications: [] });
  }
  await rest();
}

const sent = ({ socket }) => socket.sent.filter(({ type }) => !type.startsWith("$")).map(({ payload }) => payload);

/** The server takes whatever the page sends, one after the other. */
async function take(page, count) {
  const frames = [];
  for (let at = 0; at < count; at += 1) {
    frames.push(page.socket.reply("message", { position: `e.${20 + at}` }));
    await rest();
  }
  return frames;
}

test("what was written offline is published by the next page, once, in order, with its key", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await rest();
  for (const text of ["one", "two", "three"]) first.chat.publish("message", text);
  await rest();
  origin.kill(first);
  const second = visit(origin);
  await rest();
  assert.deepEqual(second.restored.map(({ payload }) => payload), ["one", "two", "three"]);
  const keys = (await origin.kept()).map(({ key }) => key);
  second.chat.publish("message", "four");
  await open(second);
  const frames = await take(second, 4);
  assert.deepEqual(frames.map(({ payload }) => payload), ["one", "two", "three", "four"]);
  assert.deepEqual(frames.slice(0, 3).map(({ key }) => key), keys);
  assert.deepEqual(await second.restored[1].answer, { position: "e.21" });
  assert.deepEqual(await origin.kept(), []);
  assert.deepEqual(sent(second), []);
});

test("what is written before the shelf was read goes behind what lies there", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await rest();
  first.chat.publish("message", "old");
  await rest();
  origin.kill(first);
  const second = visit(origin);
  second.chat.publish("message", "new");
  await open(second);
  assert.deepEqual((await take(second, 2)).map(({ payload }) => payload), ["old", "new"]);
});

test("a publication that was answered is not restored, nor is one that was refused", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await open(first);
  const good = first.chat.publish("message", "good");
  await rest();
  assert.equal((await origin.kept()).length, 1);
  await take(first, 1);
  assert.deepEqual(await good, { position: "e.20" });
  const bad = errorOf(first.chat.publish("message", "bad"));
  await rest();
  first.socket.refuse("message", { code: "forbidden" });
  assert.equal((await bad).code, "forbidden");
  await rest();
  assert.deepEqual(await origin.kept(), []);
});

test("nothing is sent before the shelf knows that it was tried", async () => {
  const origin = new Origin();
  const page = visit(origin);
  await open(page);
  page.chat.publish("message", "hi");
  assert.deepEqual(sent(page), []);
  await rest();
  assert.deepEqual(sent(page), ["hi"]);
  const [{ tried }] = await origin.kept();
  assert.equal(tried, origin.clock.now());
});

test("killed between sending and the answer, the next page sends it again with the same key", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await open(first);
  first.chat.publish("message", "hi");
  await rest();
  const { key } = first.socket.take("message");
  origin.kill(first);
  await origin.clock.advance(3 * MINUTE);
  const second = visit(origin);
  await open(second);
  assert.equal((await take(second, 1))[0].key, key);
});

test("what was never tried is published however old it is", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await rest();
  first.chat.publish("message", "patient");
  await rest();
  origin.kill(first);
  await origin.clock.advance(100 * 24 * 60 * MINUTE);
  const second = visit(origin);
  await open(second);
  assert.deepEqual((await take(second, 1)).map(({ payload }) => payload), ["patient"]);
});

test("what was tried longer ago than the server knows its key is not sent again, and this is told once", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await open(first);
  first.chat.publish("message", { text: "perhaps" });
  await rest();
  const at = origin.clock.now();
  origin.kill(first);
  await origin.clock.advance(5 * MINUTE);
  const second = visit(origin);
  await rest();
  const [{ error, ...said }] = second.undelivered;
  assert.deepEqual(said, { channel: LOBBY, type: "message", payload: { text: "perhaps" }, at });
  assert.deepEqual([error.code, error.retry], ["unavailable", true]);
  assert.deepEqual(second.restored, []);
  await open(second);
  assert.deepEqual(sent(second), []);
  origin.kill(second);
  const third = visit(origin);
  await rest();
  assert.deepEqual(third.undelivered, []);
});

test("it is told of what grows too old while it waits, too", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await open(first);
  first.chat.publish("message", "perhaps");
  await rest();
  origin.kill(first);
  const second = visit(origin);
  await rest();
  const answer = errorOf(second.restored[0].answer);
  second.socket.end();
  await origin.clock.advance(6 * MINUTE);
  await open(second);
  assert.equal((await answer).code, "unavailable");
  assert.equal(second.undelivered.length, 1);
  assert.deepEqual([sent(second), await origin.kept()], [[], []]);
});

test("a clock that was set back makes nothing young", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await open(first);
  first.chat.publish("message", "perhaps");
  await rest();
  origin.kill(first);
  const now = origin.clock.now();
  origin.clock.now = () => now - 60 * MINUTE;
  const second = visit(origin);
  await rest();
  assert.equal(second.undelivered.length, 1);
});

test("a page takes nothing from one that lives, and all that is left by one that died", async () => {
  const origin = new Origin();
  const [one, other] = [visit(origin), visit(origin)];
  await rest();
  one.chat.publish("message", "mine");
  await rest();
  const third = visit(origin);
  await rest();
  for (const page of [other, third]) await open(page);
  assert.deepEqual([other.restored, third.restored], [[], []]);
  origin.kill(one);
  other.document.fire("visibilitychange");
  third.document.fire("visibilitychange");
  await rest();
  const texts = [other, third].flatMap((page) => sent(page));
  assert.deepEqual(texts, ["mine"]);
});

test("a line that opens again looks for what a page has left that died meanwhile", async () => {
  const origin = new Origin();
  const [one, other] = [visit(origin), visit(origin)];
  await open(other);
  await rest();
  one.chat.publish("message", "left");
  await rest();
  origin.kill(one);
  await other.again({ resumed: true, subscriptions: [{ channel: LOBBY, recovered: true }] });
  await rest();
  assert.deepEqual(other.restored.map(({ payload }) => payload), ["left"]);
  assert.deepEqual(sent(other), ["left"]);
});

test("another user finds nothing, and publishes nothing", async () => {
  const origin = new Origin();
  const ada = visit(origin, { persist: "ada" });
  await rest();
  ada.chat.publish("message", "private");
  await rest();
  origin.kill(ada);
  const bob = visit(origin, { persist: "bob" });
  await open(bob, { user: "bob" });
  assert.deepEqual([bob.restored, sent(bob)], [[], []]);
  origin.kill(bob);
  const again = visit(origin, { persist: "ada" });
  await open(again, { user: "ada" });
  assert.deepEqual(sent(again), ["private"]);
});

test("where a page names the wrong user, what the server knew to be another's is not published, and stays", async () => {
  const origin = new Origin();
  const ada = visit(origin, { persist: "everybody" });
  await open(ada, { user: "ada" });
  ada.socket.end();
  ada.chat.publish("message", "private");
  await rest();
  origin.kill(ada);
  const bob = visit(origin, { persist: "everybody" });
  await rest();
  const answer = errorOf(bob.restored[0].answer);
  await open(bob, { user: "bob" });
  assert.equal((await answer).code, "forbidden");
  assert.deepEqual([sent(bob), bob.undelivered], [[], []]);
  origin.kill(bob);
  const again = visit(origin, { persist: "everybody" });
  await open(again, { user: "ada" });
  assert.deepEqual(sent(again), ["private"]);
});

test("a page whose user is another one after a break does not publish for the one before", async () => {
  const origin = new Origin();
  const page = visit(origin);
  await open(page, { user: "ada" });
  page.socket.end();
  const waits = errorOf(page.chat.publish("message", "from ada"));
  await rest();
  await origin.clock.advance(500);
  await open(page, { user: "bob" });
  assert.equal((await waits).code, "forbidden");
  assert.deepEqual([sent(page), (await origin.kept()).length], [[], 1]);
});

test("a page that goes for good leaves what waits to the next one, and tells nobody that it failed", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await open(first);
  let settled = false;
  first.chat.publish("message", "hi").finally(() => (settled = true));
  // No time to write it down: the page goes in the same moment.
  await Promise.resolve();
  first.window.fire("pagehide", { persisted: false });
  await rest();
  assert.deepEqual([first.line.status, first.socket.closed, settled], ["closed", 1000, false]);
  const second = visit(origin);
  await rest();
  assert.deepEqual(second.restored.map(({ payload }) => payload), ["hi"]);
});

test("closing the line gives up what waits, on the shelf as well", async () => {
  const origin = new Origin();
  const page = visit(origin);
  await rest();
  const waits = errorOf(page.chat.publish("message", "hi"));
  await rest();
  page.line.close();
  assert.equal((await waits).code, "closed");
  await rest();
  assert.deepEqual(await origin.kept(), []);
  assert.deepEqual([...origin.held], []);
});

test("a server that ends the line for good ends what waits, so that a message it cannot bear does not come again", async () => {
  const origin = new Origin();
  const page = visit(origin);
  await open(page);
  const waits = errorOf(page.chat.publish("message", "hi"));
  await rest();
  page.socket.end(1009, "too big");
  assert.equal((await waits).code, "closed");
  await rest();
  assert.deepEqual(await origin.kept(), []);
});

test("what is restored counts: beyond the bounds it stays where it is until there is room", async () => {
  const origin = new Origin();
  const pages = [visit(origin), visit(origin)];
  await rest();
  for (const [at, page] of pages.entries()) {
    for (let number = 0; number < 2; number += 1) {
      page.chat.publish("message", `${at}.${number}`);
      await rest();
      await origin.clock.advance(1);
    }
  }
  for (const page of pages) origin.kill(page);
  const third = visit(origin, { outbox: { entries: 3 } });
  await rest();
  assert.deepEqual(third.restored.map(({ payload }) => payload), ["0.0", "0.1", "1.0"]);
  assert.equal((await errorOf(third.chat.publish("message", "no room"))).code, "too_many");
  await open(third);
  assert.deepEqual((await take(third, 3)).map(({ payload }) => payload), ["0.0", "0.1", "1.0"]);
  third.document.fire("visibilitychange");
  await rest();
  assert.deepEqual(sent(third), ["1.1"]);
});

test("what other users left is kept within bounds, the newest of it", async () => {
  const origin = new Origin();
  for (const user of ["bob", "cleo"]) {
    const page = visit(origin, { persist: user });
    await rest();
    for (let at = 0; at < 12; at += 1) page.chat.publish("message", `${user} ${at} ${"x".repeat(60_000)}`);
    await rest();
    origin.kill(page);
    await origin.clock.advance(1000);
  }
  assert.equal((await origin.kept()).length, 24);
  const ada = visit(origin);
  await rest();
  const kept = await origin.kept();
  assert.ok(kept.reduce((sum, { bytes }) => sum + bytes, 0) <= 1_048_576);
  assert.deepEqual(kept.map(({ place }) => JSON.parse(place)[1]), [...Array(5).fill("bob"), ...Array(12).fill("cleo")]);
  assert.deepEqual(ada.restored, []);
});

for (const [missing, name] of [[["indexedDB"], "IndexedDB"], [["locks"], "Web Locks"]]) {
  test(`where there are no ${name} it stays in memory, says so, and works`, async () => {
    const origin = new Origin();
    const page = visit(origin, { missing });
    await open(page);
    assert.equal(page.outbox.length, 1);
    assert.equal(page.outbox[0].persists, false);
    assert.match(page.outbox[0].reason, /IndexedDB/);
    const published = page.chat.publish("message", "hi");
    await rest();
    await take(page, 1);
    assert.deepEqual(await published, { position: "e.20" });
  });
}

test("a database that never answers is done without after 3 s", async () => {
  const origin = new Origin();
  origin.indexedDB = { open: () => ({}) };
  const page = visit(origin);
  await open(page);
  page.chat.publish("message", "hi");
  assert.deepEqual([sent(page), page.outbox], [[], []]);
  await origin.clock.advance(3000);
  assert.deepEqual(page.outbox, [{ persists: false, reason: "Error: it took too long" }]);
  assert.deepEqual(sent(page), ["hi"]);
});

test("a browser that refuses the database is told apart from one that has it, and nothing is thrown", async () => {
  const origin = new Origin();
  origin.indexedDB = {
    open() {
      throw new DOMException("not in a private window", "SecurityError");
    },
  };
  const page = visit(origin);
  await open(page);
  assert.deepEqual(page.outbox, [{ persists: false, reason: "SecurityError: not in a private window" }]);
  assert.deepEqual([...origin.held], []);
});

test("a message for which there is no room is in memory only, and this is said until there is room again", async (t) => {
  const origin = new Origin();
  const page = visit(origin);
  await rest();
  for (const name of ["add", "put"]) {
    const write = IDBObjectStore.prototype[name];
    t.mock.method(IDBObjectStore.prototype, name, function (record) {
      if (record.text.includes("big")) throw new DOMException("full", "QuotaExceededError");
      return write.call(this, record);
    });
  }
  page.chat.publish("message", "big");
  await rest();
  page.chat.publish("message", "small");
  await rest();
  const refused = { persists: false, reason: "QuotaExceededError: full" };
  assert.deepEqual(page.outbox, [{ persists: true }, refused, { persists: true }]);
  assert.equal((await origin.kept()).length, 1);
  await open(page);
  assert.deepEqual((await take(page, 2)).map(({ payload }) => payload), ["big", "small"]);
});

test("nothing outlives the page unless it is asked for, and what is asked for names a user", async () => {
  const origin = new Origin();
  const page = origin.page({ outbox: { persist: undefined } });
  page.line.subscribe(LOBBY).publish("message", "hi");
  await rest();
  assert.deepEqual([...origin.held], []);
  for (const persist of ["", true, null, 5]) assert.throws(() => new Stage({ outbox: { persist } }), /id of a user/);
});

test("events, reads and what is volatile do not outlive the page", async () => {
  const origin = new Origin();
  const page = visit(origin);
  await rest();
  page.line.emit("save", 1);
  page.chat.history();
  page.chat.publish("cursor", 1, { volatile: true });
  await rest();
  assert.deepEqual(await origin.kept(), []);
});

test("a channel that is subscribed to later is told what waits there, until it was published", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await rest();
  first.chat.publish("message", "hi");
  await rest();
  origin.kill(first);
  const second = origin.page();
  await rest();
  const late = second.line.subscribe(LOBBY);
  const restored = heard(late, "$restored");
  await rest();
  assert.deepEqual(restored.map(({ payload }) => payload), ["hi"]);
  await open(second);
  await take(second, 1);
  late.unsubscribe();
  const again = heard(second.line.subscribe(LOBBY), "$restored");
  await rest();
  assert.deepEqual(again, []);
});

test("bytes are restored as bytes", async () => {
  const origin = new Origin();
  const first = visit(origin);
  await rest();
  first.chat.publish("drawing", new Uint8Array([1, 2, 255]), { echo: false });
  await rest();
  origin.kill(first);
  const second = visit(origin);
  await open(second);
  assert.deepEqual(second.restored[0].payload, new Uint8Array([1, 2, 255]));
  const { payload, encoding, echo } = second.socket.take("drawing");
  assert.deepEqual({ payload, encoding, echo }, { payload: "AQL/", encoding: "base64", echo: false });
});
