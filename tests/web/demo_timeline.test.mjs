/** What the chat demo shows of a channel: merged by position, each message once, no text lost or doubled. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Timeline, textOf } from "../../src/openline/web/demo/timeline.js";

const ME = { author: "user:ada", name: "ada" };
const ADA = { connection: "c1", user: "ada" };
const BOB = { connection: "c2", user: "bob" };

const said = (stamp, text = `m${stamp}`, from = BOB, epoch = "e") => ({
  type: "message",
  channel: "chat:lobby",
  payload: text,
  position: `${epoch}.${stamp}`,
  from,
});
const texts = (timeline) => timeline.entries.filter((entry) => entry.kind === "message").map((entry) => entry.text);
const kinds = (timeline) => timeline.entries.map((entry) => (entry.kind === "message" ? entry.text : entry.kind));

/** A small generator of chance (mulberry32), so that a failure can be repeated. */
function chance(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(list, random) {
  const copy = [...list];
  for (let index = copy.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [copy[index], copy[other]] = [copy[other], copy[index]];
  }
  return copy;
}

test("however publications arrive, and however often, they stand in the order of their positions, once", () => {
  const stream = Array.from({ length: 30 }, (_, index) => said(index + 1));
  for (let seed = 0; seed < 200; seed += 1) {
    const random = chance(seed);
    const timeline = new Timeline();
    const repeated = [...stream, ...stream.filter(() => random() < 0.3)];
    for (const publication of shuffled(repeated, random)) timeline.add(publication);
    assert.deepEqual(
      texts(timeline),
      stream.map((publication) => publication.payload),
      `seed ${seed}`,
    );
  }
});

test("stamps are compared as numbers, not as text", () => {
  const timeline = new Timeline();
  for (const stamp of [10, 9, 100]) timeline.add(said(stamp));
  assert.deepEqual(texts(timeline), ["m9", "m10", "m100"]);
});

test("a new epoch stands behind the one before, whatever its stamps", () => {
  const timeline = new Timeline();
  timeline.add(said(50, "old"));
  timeline.gap();
  timeline.add(said(1, "new", BOB, "f"));
  timeline.add(said(49, "older"));
  assert.deepEqual(kinds(timeline), ["older", "old", "gap", "new"]);
});

test("a publication without a position is shown where it arrives", () => {
  const timeline = new Timeline();
  timeline.add(said(1));
  timeline.add({ type: "message", payload: "volatile", from: BOB });
  timeline.add(said(2));
  assert.deepEqual(texts(timeline), ["m1", "volatile", "m2"]);
});

test("a page of older history goes in front of everything, notices too", () => {
  const timeline = new Timeline();
  timeline.presence("bob", true);
  timeline.add(said(5));
  for (const stamp of [3, 4]) timeline.add(said(stamp), { older: true });
  assert.deepEqual(kinds(timeline), ["m3", "m4", "presence", "m5"]);
  assert.equal(timeline.oldest, "e.3");
});

test("history read after a gap goes behind the line that tells of it", () => {
  const timeline = new Timeline();
  timeline.add(said(1));
  timeline.gap();
  timeline.add(said(9));
  for (const stamp of [1, 7, 8, 9]) timeline.add(said(stamp));
  assert.deepEqual(kinds(timeline), ["m1", "gap", "m7", "m8", "m9"]);
});

test("a gap that is told twice in a row is one line", () => {
  const timeline = new Timeline();
  timeline.gap();
  timeline.gap();
  assert.deepEqual(kinds(timeline), ["gap"]);
});

test("a text of one's own is there at once, as pending, behind everything that arrives meanwhile", () => {
  const timeline = new Timeline();
  const mine = timeline.send("hello", 1000, ME);
  timeline.add(said(1));
  assert.deepEqual(texts(timeline), ["m1", "hello"]);
  assert.equal(mine.state, "pending");
});

test("the acknowledgement first, the publication after: one message, sent, in its place", () => {
  const timeline = new Timeline();
  const mine = timeline.send("hello", 1000, ME);
  timeline.acknowledge(mine.key, "e.2");
  assert.equal(timeline.add(said(2, "hello", ADA), { own: true, echo: true }), null);
  timeline.add(said(1));
  assert.deepEqual(texts(timeline), ["m1", "hello"]);
  assert.equal(mine.state, "sent");
});

test("the publication first, the acknowledgement after: one message, the one that was shown from the start", () => {
  const timeline = new Timeline();
  const mine = timeline.send("hello", 1000, ME);
  assert.equal(timeline.add(said(2, "hello", ADA), { own: true, echo: true }), mine);
  timeline.acknowledge(mine.key, "e.2");
  assert.deepEqual(texts(timeline), ["hello"]);
  assert.deepEqual([mine.state, mine.position, mine.at], ["sent", "e.2", 1000]);
});

test("the same text twice is two messages", () => {
  const timeline = new Timeline();
  const [first, second] = [timeline.send("hi", 1, ME), timeline.send("hi", 2, ME)];
  timeline.add(said(1, "hi", ADA), { own: true, echo: true });
  timeline.add(said(2, "hi", ADA), { own: true, echo: true });
  timeline.acknowledge(first.key, "e.1");
  timeline.acknowledge(second.key, "e.2");
  assert.deepEqual(texts(timeline), ["hi", "hi"]);
  assert.deepEqual([first.position, second.position], ["e.1", "e.2"]);
});

test("however echoes and answers for equal texts interleave, each message ends sent, at its own position", () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const random = chance(seed);
    const timeline = new Timeline();
    const sent = Array.from({ length: 5 }, (_, index) => timeline.send(random() < 0.6 ? "same" : "other", index, ME));
    const order = shuffled(sent, random); // the order in which the server took them
    const steps = order.flatMap((message, index) => [
      () => timeline.add(said(index + 1, message.text, ADA), { own: true, echo: true }),
      () => timeline.acknowledge(message.key, `e.${index + 1}`),
    ]);
    for (const step of shuffled(steps, random)) step();
    assert.deepEqual(
      timeline.entries.map((entry) => entry.key),
      order.map((message) => message.key),
      `seed ${seed}`,
    );
    assert.deepEqual(
      order.map((message) => message.position),
      [1, 2, 3, 4, 5].map((stamp) => `e.${stamp}`),
    );
    assert.ok(sent.every((message) => message.state === "sent"));
  }
});

test("what the same person says in another window does not settle what waits in this one", () => {
  const timeline = new Timeline();
  timeline.send("hi", 1, ME);
  timeline.add(said(1, "hi", { connection: "c9", user: "ada" }), { own: true });
  assert.deepEqual(
    timeline.entries.map((entry) => entry.state),
    ["sent", "pending"],
  );
});

test("an acknowledgement for a position that history has shown already leaves one message", () => {
  const timeline = new Timeline();
  const mine = timeline.send("hello", 1, ME);
  timeline.add(said(3, "hello", { connection: "gone", user: "ada" }), { own: true });
  timeline.acknowledge(mine.key, "e.3");
  assert.deepEqual(
    timeline.entries.map((entry) => entry.key),
    [mine.key],
  );
});

test("a failed message says why, and a retry puts it behind the others", () => {
  const timeline = new Timeline();
  const [first, second] = [timeline.send("one", 1, ME), timeline.send("two", 2, ME)];
  timeline.fail(first.key, "not allowed");
  assert.deepEqual([first.state, first.error], ["failed", "not allowed"]);
  timeline.retry(first.key, 3);
  assert.deepEqual(texts(timeline), ["two", "one"]);
  assert.deepEqual([first.state, first.error, first.at, second.state], ["pending", "", 3, "pending"]);
});

test("a message that was reported failed and arrives after all is sent", () => {
  const timeline = new Timeline();
  const mine = timeline.send("hello", 1, ME);
  timeline.fail(mine.key, "the outcome is unknown");
  timeline.add(said(1, "hello", ADA), { own: true, echo: true });
  assert.equal(mine.state, "sent");
  assert.equal(timeline.retry(mine.key, 2), undefined);
});

test("a failed message can be given up", () => {
  const timeline = new Timeline();
  const mine = timeline.send("hello", 1, ME);
  timeline.fail(mine.key, "no");
  timeline.remove(mine.key);
  assert.deepEqual(timeline.entries, []);
});

test("neighbouring joins and leaves share one line until something is said", () => {
  const timeline = new Timeline();
  timeline.presence("bob", true);
  timeline.presence("cleo", true);
  timeline.presence("bob", false);
  timeline.add(said(1));
  timeline.presence("bob", true);
  assert.deepEqual(kinds(timeline), ["presence", "m1", "presence"]);
  assert.deepEqual(
    [...timeline.entries[0].changes],
    [
      ["bob", { came: true, here: false }],
      ["cleo", { came: true, here: true }],
    ],
  );
});

test("a list that grows for ever is trimmed from its oldest end, and what went may come back", () => {
  const timeline = new Timeline();
  for (let stamp = 1; stamp <= 12; stamp += 1) timeline.add(said(stamp));
  assert.equal(timeline.trim(10), true);
  assert.equal(timeline.trim(10), false);
  assert.equal(timeline.oldest, "e.3");
  timeline.add(said(2), { older: true });
  assert.equal(timeline.oldest, "e.2");
});

test("few but huge messages are trimmed by their characters", () => {
  const timeline = new Timeline();
  for (let stamp = 1; stamp <= 5; stamp += 1) timeline.add(said(stamp, "x".repeat(100)));
  timeline.trim(1000, 250);
  assert.equal(texts(timeline).length, 2);
});

test("a payload that is no string is shown as what it is", () => {
  assert.equal(textOf("text"), "text");
  assert.equal(textOf({ a: [1] }), '{"a":[1]}');
  assert.equal(textOf(undefined), "null");
  assert.equal(textOf(new Uint8Array(3)), "[3 bytes]");
  assert.equal(textOf("AAECAw==", "base64"), "[4 bytes]");
});
