/** Frames: what may be written, what is read, bytes, and the comparison of positions. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as frames from "../../src/openline/web/sdk/openline/frames.js";

const { OpenlineError, covers, eventOf, nameOf, read, sameEpoch, unwrap, wrap, write } = frames;

const refused = (payload) => {
  assert.throws(() => write({ type: "a", payload }), { name: "OpenlineError", code: "bad_payload", field: "payload" });
};

/** An array in an array, so many times. */
const nested = (depth) => (depth === 0 ? 1 : [nested(depth - 1)]);

test("bytes of any length and any view arrive as the bytes they were", () => {
  for (let length = 0; length < 300; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) % 256);
    assert.deepEqual(unwrap(wrap(bytes)), bytes);
    assert.deepEqual(unwrap(wrap(bytes.buffer)), bytes);
  }
  const large = new Uint8Array(200_000).fill(255);
  assert.deepEqual(unwrap(wrap(large)), large);
  const part = new Uint16Array([1, 2, 3, 4]).subarray(1, 3);
  assert.deepEqual(unwrap(wrap(part)), new Uint8Array([2, 0, 3, 0]));
});

test("base64 is what others write it as", () => {
  assert.deepEqual(wrap(new TextEncoder().encode("hello?>")), { payload: "aGVsbG8/Pg==", encoding: "base64" });
});

test("a payload that claims to be base64 and is not stays the text it is", () => {
  assert.equal(unwrap({ payload: "%%%", encoding: "base64" }), "%%%");
  assert.equal(unwrap({ payload: "aGk=", encoding: "rot13" }), "aGk=");
});

test("a payload that was left out is null", () => {
  assert.equal(unwrap({ type: "a" }), null);
  assert.equal(write({ type: "a", ...wrap(undefined) }), '{"type":"a"}');
});

test("what no server could read is refused before it is sent", () => {
  refused(9007199254740992);
  refused({ at: [-1.7e18] });
  refused("half \ud83d a smile");
  refused({ "\udc00": 1 });
  refused(10n);
  const circle = {};
  circle.self = circle;
  refused(circle);
  refused(nested(64));
});

test("what is just within the limits is written", () => {
  for (const payload of [Number.MAX_SAFE_INTEGER, 1e300, 0.1, "😀", nested(63), Object.create(null)]) {
    assert.deepEqual(JSON.parse(write({ type: "a", payload })).payload, JSON.parse(JSON.stringify(payload)));
  }
});

test("one object in many places is no deeper for that", () => {
  const shared = { x: 1 };
  write({ type: "a", payload: Array.from({ length: 200 }, () => ({ shared })) });
});

test("what is no frame is read as nothing", () => {
  for (const text of ["", "{", "null", "1", "[]", "{}", '{"type":1}', '"type"']) assert.equal(read(text), undefined);
  assert.deepEqual(read('{"type":"a","x":1}'), { type: "a", x: 1 });
});

test("a payload cannot reach a prototype", () => {
  const event = eventOf(read('{"type":"__proto__","payload":{"__proto__":{"admin":true}},"from":{"__proto__":{"x":1}}}'));
  assert.equal({}.admin, undefined);
  assert.equal(event.type, "__proto__");
  assert.equal(Object.getPrototypeOf(event), Object.prototype);
});

test("an event shows only the fields that its frame has", () => {
  assert.deepEqual(eventOf({ type: "a", payload: 1 }), { type: "a", payload: 1 });
  const frame = { type: "a", payload: 1, channel: "c", position: "e.1", from: { connection: "x" } };
  assert.deepEqual(eventOf(frame, true), { ...frame, recovered: true });
});

test("only an application's name may be sent", () => {
  for (const type of ["", "$connect", undefined, 1, null]) assert.throws(() => nameOf(type), { code: "bad_field", field: "type" });
  for (const type of ["a", "then", "__proto__", "\n"]) assert.equal(nameOf(type), type);
});

test("stamps are compared as numbers, and only within one epoch", () => {
  assert.equal(covers("e.10", "e.9"), true);
  assert.equal(covers("e.9", "e.10"), false);
  assert.equal(covers("e.10", "e.10"), true);
  assert.equal(covers("f.10", "e.9"), false);
  assert.equal(covers(undefined, "e.9"), false);
  assert.equal(covers("e.10", "nonsense"), false);
  assert.equal(sameEpoch("e.1", "e.2"), true);
  assert.equal(sameEpoch("e.1", "ee.1"), false);
});

test("an error says its code where there is no message", () => {
  const error = new OpenlineError("forbidden");
  assert.deepEqual([error.message, error.retry, error.field], ["forbidden", false, undefined]);
  assert.ok(error instanceof Error);
});
