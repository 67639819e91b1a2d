/** Names of people and channels in the chat demo, who is in a channel, and positions. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CHANNEL_RULE,
  chooseChannel,
  chooseName,
  cleanName,
  hue,
  initials,
  memberId,
  memberName,
} from "../../src/openline/web/demo/names.js";
import { People } from "../../src/openline/web/demo/people.js";
import { parsePosition } from "../../src/openline/web/demo/positions.js";

test("a name is trimmed, and has 1 to 32 characters", () => {
  assert.equal(chooseName("  ada  ").name, "ada");
  assert.equal(chooseName("x".repeat(32)).name.length, 32);
  assert.equal(chooseName("🦊".repeat(32)).error, "");
  for (const bad of ["", "   ", "\u202e\u200b", "x".repeat(33), null, undefined]) {
    const { name, error } = chooseName(bad);
    assert.equal(name, "");
    assert.match(error, /character/);
  }
});

test("a name holds no line breaks and nothing that turns the text around it", () => {
  assert.equal(cleanName("a\nb\tc"), "a b c");
  assert.equal(cleanName("ada\u202egnp\u0000"), "adagnp");
});

test("a member is called by the user id, else guest and the connection's first four; nobody is the server", () => {
  assert.equal(memberName({ connection: "f3a9c1", user: "ada" }), "ada");
  assert.equal(memberName({ connection: "f3a9c1" }), "guest-f3a9");
  assert.equal(memberName({ connection: "f3a9c1", user: "ada", data: null }), "ada");
  assert.equal(memberName(undefined), "Server");
});

test("nobody can pass for a guest or for the server by their name", () => {
  const ids = [{ connection: "c", user: "server" }, { connection: "server" }, undefined].map(memberId);
  assert.equal(new Set(ids).size, 3);
});

test("an avatar has one or two letters, whole characters also outside the first plane", () => {
  assert.deepEqual(["ada", "ada lovelace", "a.b-c", "🦊 fox", ""].map(initials), ["A", "AL", "AC", "🦊F", "?"]);
});

test("a name has one colour, and names spread over all ten", () => {
  assert.equal(hue("user:ada"), hue("user:ada"));
  const hues = new Set(Array.from({ length: 200 }, (_, index) => hue(`user:name${index}`)));
  assert.equal(hues.size, 10);
});

test("a channel may be typed short, with a hash, or in full", () => {
  for (const text of ["team", "#team", " chat:team ", "#chat:team"])
    assert.equal(chooseChannel(text).channel, "chat:team");
  assert.equal(chooseChannel("a".repeat(123)).channel.length, 128);
  assert.equal(chooseChannel("_a.b~c:d@e-F9").error, "");
});

test("a channel name outside the grammar is told what is allowed", () => {
  for (const text of ["", "#", "-team", ".team", "two words", "täm", "a/b", "$secret", "a".repeat(124), "a\n", null]) {
    const { channel, error } = chooseChannel(text === "a\n" ? "a\nb" : text);
    assert.deepEqual([channel, error], ["", CHANNEL_RULE]);
  }
});

test("a position is an epoch and a stamp without leading zeros below 2^53", () => {
  assert.deepEqual(parsePosition("aB_-9.0"), { epoch: "aB_-9", stamp: 0 });
  assert.deepEqual(parsePosition("e.9007199254740991"), { epoch: "e", stamp: 9007199254740991 });
  for (const bad of [
    "",
    "e",
    "e.",
    ".1",
    "e.01",
    "e.-1",
    "e.1.2",
    "e.9007199254740992",
    "x".repeat(33) + ".1",
    7,
    null,
  ]) {
    assert.equal(parsePosition(bad), null, String(bad));
  }
});

const ada = { connection: "c1", user: "ada" };
const isAda = (member) => member.user === "ada";

test("several connections of one user are one person, oneself first, guests last", () => {
  const people = new People();
  people.reset([{ connection: "c9" }, { connection: "c2", user: "bob" }, ada, { connection: "c3", user: "ada" }]);
  const list = people.list(isAda).map(({ name, windows, you }) => [name, windows, you]);
  assert.deepEqual(list, [
    ["ada", 2, true],
    ["bob", 1, false],
    ["guest-c9", 1, false],
  ]);
});

test("a person comes with their first connection and goes with their last", () => {
  const people = new People();
  const second = { connection: "c3", user: "ada" };
  assert.deepEqual([people.joined(ada), people.joined(second), people.joined(ada)], [true, false, false]);
  assert.deepEqual([people.left(ada), people.left(second), people.left(second)], [false, true, false]);
});

test("the server's count tells how many it did not name", () => {
  const people = new People();
  people.reset([ada], 1200);
  assert.equal(people.unnamed, 1199);
  people.left(ada, 1199);
  assert.equal(people.unnamed, 1199);
});
