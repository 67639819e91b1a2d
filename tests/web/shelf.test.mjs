/** What the shelf holds, how much of it, and what becomes of messages where a browser does not let us have one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { IDBObjectStore } from "fake-indexeddb";
import { LOBBY, Origin, open, rest, sent, take, visit } from "./origin.mjs";
import { Stage, errorOf, heard } from "./stage.mjs";

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
