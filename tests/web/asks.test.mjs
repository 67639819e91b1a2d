/** Asks in both directions: what the server answers, and what this page does. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage, errorOf, settle } from "./stage.mjs";

test("an ask gets the handler's answer, or its error with all that is told", async () => {
  const stage = new Stage();
  await stage.open();
  const sum = stage.line.ask("add", { a: 1 });
  assert.deepEqual(stage.socket.sent[0].payload, { a: 1 });
  stage.socket.reply("add", 3);
  assert.equal(await sum, 3);
  const error = errorOf(stage.line.ask("add", { a: "x" }));
  stage.socket.refuse("add", { code: "bad_payload", field: "payload.a", message: "an integer" });
  const { name, code, message, field, retry } = await error;
  assert.deepEqual([name, code, message, field, retry], ["OpenlineError", "bad_payload", "an integer", "payload.a", false]);
});

test("an ask gives up in time, open or not, and its late answer finds nobody", async () => {
  const stage = new Stage();
  const early = errorOf(stage.line.ask("add", 1, { timeout: 300 }));
  await stage.clock.advance(300);
  assert.equal((await early).code, "timeout");
  await stage.open();
  assert.deepEqual(stage.socket.sent, []);
  const late = errorOf(stage.line.ask("add", 2));
  await stage.clock.advance(9_999);
  stage.socket.receive({ type: "$ping" });
  await stage.clock.advance(1);
  assert.equal((await late).code, "timeout");
  stage.socket.reply("add", 3);
  await stage.again({ resumed: true });
  assert.deepEqual(stage.socket.sent, []);
});

test("bytes are answered as bytes", async () => {
  const stage = new Stage();
  await stage.open();
  const asked = stage.line.ask("thumbnail", new Uint8Array([1, 2]));
  const { id, payload, encoding } = stage.socket.take();
  assert.deepEqual([payload, encoding], ["AQI=", "base64"]);
  stage.socket.receive({ type: "$reply", id, payload: "AwQ=", encoding: "base64" });
  assert.deepEqual(await asked, new Uint8Array([3, 4]));
});

test("what the server asks is answered, at once or later", async () => {
  const stage = new Stage();
  await stage.open();
  stage.line.answer("pick", (payload) => payload.length);
  stage.line.answer("load", async (payload) => new Uint8Array(payload));
  stage.socket.receive({ type: "pick", id: 7, payload: "four" }, { type: "load", id: "x", payload: [1, 2] });
  await settle();
  assert.deepEqual(stage.socket.sent, [
    { type: "$reply", id: 7, payload: 4 },
    { type: "$reply", id: "x", payload: "AQI=", encoding: "base64" },
  ]);
});

test("an ask that cannot be answered gets an error without internals", async (t) => {
  const reported = t.mock.method(console, "error", () => {});
  const stage = new Stage();
  await stage.open();
  const remove = stage.line.answer("gone", () => 1);
  remove();
  stage.line.answer("throws", () => {
    throw new Error("secret");
  });
  stage.line.answer("rejects", () => Promise.reject(new Error("secret")));
  stage.line.answer("unreadable", () => 10n);
  stage.line.answer("endless", () => "x".repeat(70_000));
  for (const type of ["gone", "throws", "rejects", "unreadable", "endless"]) stage.socket.receive({ type, id: type, payload: 1 });
  await settle();
  const codes = stage.socket.sent.map(({ id, code }) => `${id} ${code}`).sort();
  const failed = ["endless failed", "gone unknown_event", "rejects failed", "throws failed", "unreadable failed"];
  assert.deepEqual(codes, failed);
  assert.ok(!JSON.stringify(stage.socket.sent).includes("secret"));
  assert.equal(reported.mock.callCount(), 4);
});

test("there is one answer for a type", () => {
  const { line } = new Stage();
  line.answer("pick", () => 1);
  assert.throws(() => line.answer("pick", () => 2), TypeError);
});

test("an answer reaches the connection that was asked, also on its next line, and no other", async () => {
  const stage = new Stage();
  await stage.open();
  const picks = [];
  stage.line.answer("pick", () => new Promise((resolve) => picks.push(resolve)));
  stage.socket.receive({ type: "pick", id: 1, payload: null });
  await stage.again({ resumed: true });
  stage.socket.receive({ type: "pick", id: 2, payload: null });
  await settle();
  picks[0]("first");
  await settle();
  assert.deepEqual(stage.socket.take(), { type: "$reply", id: 1, payload: "first" });
  await stage.again({ connection: "c9" });
  picks[1]("second");
  await settle();
  assert.deepEqual(stage.socket.sent, []);
});
