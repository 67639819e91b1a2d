/** Publications that outlive their page: published once, in order, by one page, and as the user who wrote them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LOBBY, Origin, open, rest, sent, take, visit } from "./origin.mjs";
import { errorOf } from "./stage.mjs";

const MINUTE = 60_000;

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
