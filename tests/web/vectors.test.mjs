/** The vectors of spec/vectors that concern a client: the comparison of positions, and what becomes of a push. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { covers, eventOf, read, sameEpoch, unwrap, wrap } from "../../src/openline/web/sdk/openline/frames.js";

const load = (name) => JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}.json`, import.meta.url), "utf8"));

const bytesOf = (text) => new Uint8Array(Buffer.from(text, "base64"));

/** An event as the vectors write it. */
const eventFrom = ({ base64, ...event }) => (base64 === undefined ? event : { ...event, payload: bytesOf(base64) });

test("positions are compared as the vectors say", () => {
  for (const { one, other, same_epoch: same, covers: expected } of load("positions").order) {
    assert.equal(sameEpoch(one, other), same, `${one} ${other}`);
    assert.equal(covers(one, other), expected, `${one} ${other}`);
  }
});

test("a push is the event that the vectors say", () => {
  const { pushes } = load("pushes");
  for (const { push, event } of pushes) assert.deepEqual(eventOf(read(JSON.stringify(push))), eventFrom(event));
  assert.ok(pushes.length > 10);
});

test("what a client sends as bytes is what the server reads as these bytes", () => {
  const cases = load("commands").commands.filter(({ command }) => command?.base64 !== undefined);
  for (const { text, command } of cases) {
    const { payload, encoding } = JSON.parse(text);
    assert.deepEqual(wrap(bytesOf(command.base64)), { payload, encoding });
    assert.deepEqual(unwrap({ payload, encoding }), bytesOf(command.base64));
  }
  assert.ok(cases.length > 2);
});
