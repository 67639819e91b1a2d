/** Handlers of the application, and keys. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Emitter, newKey } from "../../src/openline/web/sdk/openline/surroundings.js";
import { settle } from "./stage.mjs";

test("handlers are called in the order in which they came, until they are removed", () => {
  const emitter = new Emitter();
  const calls = [];
  const remove = emitter.on("a", (payload) => calls.push(["first", payload]));
  emitter.on("a", (payload) => calls.push(["second", payload]));
  emitter.emit("a", 1);
  remove();
  remove();
  emitter.emit("a", 2);
  assert.deepEqual(calls, [["first", 1], ["second", 1], ["second", 2]]);
});

test("the same handler twice is called twice, and removed once at a time", () => {
  const emitter = new Emitter();
  let calls = 0;
  const handler = () => (calls += 1);
  const remove = emitter.on("a", handler);
  emitter.on("a", handler);
  emitter.emit("a", 1);
  remove();
  emitter.emit("a", 1);
  assert.equal(calls, 3);
});

test("a handler that another one removes is not called any more, and one that it adds not yet", () => {
  const emitter = new Emitter();
  const calls = [];
  emitter.on("a", () => {
    remove();
    emitter.on("a", () => calls.push("added"));
  });
  const remove = emitter.on("a", () => calls.push("removed"));
  emitter.emit("a", 1);
  assert.deepEqual(calls, []);
});

test("what a handler throws, now or later, is reported and stops nobody", async (t) => {
  const reported = t.mock.method(console, "error", () => {});
  const emitter = new Emitter();
  let called = false;
  emitter.on("a", () => {
    throw new Error("now");
  });
  emitter.on("a", async () => {
    throw new Error("later");
  });
  emitter.on("a", () => (called = true));
  emitter.emit("a", 1);
  await settle();
  assert.equal(called, true);
  assert.deepEqual(reported.mock.calls.map(({ arguments: [error] }) => error.message), ["now", "later"]);
});

test("where the page can report errors it does", (t) => {
  globalThis.reportError = mock.fn();
  t.after(() => delete globalThis.reportError);
  const emitter = new Emitter();
  emitter.on("a", () => {
    throw new Error("seen");
  });
  emitter.emit("a", 1);
  assert.equal(globalThis.reportError.mock.callCount(), 1);
});

test("a handler may have any name", () => {
  const emitter = new Emitter();
  const names = ["then", "__proto__", "constructor", "toString", "hasOwnProperty"];
  const calls = [];
  for (const name of names) emitter.emit(name, 1);
  for (const name of names) emitter.on(name, () => calls.push(name));
  for (const name of names) emitter.emit(name, 1);
  assert.deepEqual(calls, names);
});

test("what is no function is no handler", () => {
  assert.throws(() => new Emitter().on("a", "b"), TypeError);
});

test("keys fit the protocol and are never the same", () => {
  const keys = new Set(Array.from({ length: 10_000 }, newKey));
  assert.equal(keys.size, 10_000);
  for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/);
});
