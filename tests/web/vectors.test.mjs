/** The vectors of spec/vectors that concern a client: the comparison of positions, and what becomes of a push. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { covers, eventOf, read, sameEpoch, unwrap, wrap } from "../../src/openline/web/sdk/openline/frames.js";

const load = (name) => JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}.json`, import.meta.url), "utf8"));

/** A payload as the vectors write it. */
const payloadOf = (payload) =>
  payload?.$bytes === undefined ? payload : new Uint8Array(Buffer.from(payload.$bytes, "base64"));

test("positions are compared as the vectors say", () => {
  for (const { one, other, same_epoch: same, covers: expected } of load("positions").order) {
    assert.equal(sameEpoch(one, other), same, `${one} ${other}`);
    assert.equal(covers(one, other), expected, `${one} ${other}`);
  }
});

for (const { about, frame, event } of load("pushes").pushes) {
  test(`a push is the event that the vectors say: ${about}`, () => {
    const found = eventOf(read(JSON.stringify(frame)));
    assert.deepEqual(found, { ...event, payload: payloadOf(event.payload) });
  });
}

test("what a client sends as bytes the server reads as these bytes", () => {
  for (const { text, is } of load("commands").commands) {
    const bytes = is[0]?.payload?.$bytes;
    if (bytes === undefined) continue;
    const { payload, encoding } = JSON.parse(text);
    assert.deepEqual(wrap(payloadOf({ $bytes: bytes })), { payload, encoding });
    assert.deepEqual(unwrap({ payload, encoding }), payloadOf({ $bytes: bytes }));
  }
});
