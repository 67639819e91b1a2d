/** What the chat demo says: sentences, rows, and the examples of other doors. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { GAP_SENTENCE, rowsOf, TOGETHER } from "../../src/openline/web/demo/rows.js";
import {
  badge,
  listed,
  pageTitle,
  presenceSentence,
  detourSentence,
  statusSentence,
  typingSentence,
} from "../../src/openline/web/demo/sentences.js";
import { snippetsFor } from "../../src/openline/web/demo/snippets.js";
import { Timeline } from "../../src/openline/web/demo/timeline.js";

test("the typing sentence names up to three people", () => {
  assert.equal(typingSentence([]), "");
  assert.equal(typingSentence(["ada"]), "ada is typing…");
  assert.equal(typingSentence(["ada", "bob"]), "ada and bob are typing…");
  assert.equal(typingSentence(["ada", "bob", "cleo"]), "ada, bob and cleo are typing…");
  assert.equal(typingSentence(["a", "b", "c", "d"]), "Several people are typing…");
});

test("a long list of names ends in a number", () => {
  assert.equal(listed(["a", "b", "c", "d", "e"]), "a, b and 3 others");
});

test("comings and goings are told by their outcome", () => {
  const changes = new Map([
    ["ada", { came: true, here: true }],
    ["bob", { came: true, here: true }],
    ["cleo", { came: true, here: false }],
    ["dora", { came: false, here: false }],
    ["emil", { came: false, here: true }],
  ]);
  assert.equal(presenceSentence(changes), "ada and bob joined · cleo came and went · dora left · emil came back");
});

test("the title begins with what is unread", () => {
  assert.equal(pageTitle(0, "lobby"), "#lobby · Openline");
  assert.equal(pageTitle(3, "lobby"), "(3) #lobby · Openline");
  assert.equal(badge(100), "99+");
});

const status = (line, now = 0) => statusSentence({ online: true, met: true, ...line }, now);

test("the status counts the seconds down for the eye, not for the ear", () => {
  const { tone, text, announce } = status({ status: "waiting", retryAt: 2400 });
  assert.deepEqual([tone, text, announce], ["busy", "Reconnecting in 3 s…", "Reconnecting…"]);
  assert.equal(status({ status: "waiting", retryAt: 2400 }, 2400).text, "Reconnecting…");
});

test("the status tells the first connection from a reconnect, and being offline from both", () => {
  assert.equal(status({ status: "connecting", met: false }).text, "Connecting…");
  assert.equal(status({ status: "connecting" }).text, "Reconnecting…");
  assert.equal(status({ status: "waiting", online: false, retryAt: 9000 }).text, "Offline");
  assert.deepEqual(
    [status({ status: "open", online: false }).text, status({ status: "open" }).tone],
    ["Connected", "good"],
  );
});

test("a line that goes another way than usual says which, and that nothing is lost", () => {
  const words = ["websocket", "stream", "poll", null].map((transport) => status({ status: "open", transport }).text);
  assert.deepEqual(words, ["Connected", "Connected · event stream", "Connected · long polls", "Connected"]);
  assert.equal(status({ status: "connecting", transport: "stream" }).text, "Reconnecting…");
  assert.equal(detourSentence("websocket") + detourSentence(null), "");
  for (const transport of ["stream", "poll"]) assert.match(detourSentence(transport), /WebSockets do not get through here.*Nothing is lost/);
});

test("a line that is over says why", () => {
  assert.equal(
    status({ status: "closed", code: 4410, reason: "the room closes" }).text,
    "Disconnected: the room closes",
  );
  assert.equal(status({ status: "closed", code: 4401 }).text, "Name not accepted");
  assert.equal(status({ status: "closed" }).text, "Disconnected");
});

const bob = { connection: "c2", user: "bob" };
const cleo = { connection: "c3", user: "cleo" };

/** Rows as "head tail" in letters: `HT` alone, `H-` first, `--` middle, `-T` last. */
function shape(timeline, divider) {
  return rowsOf(timeline.entries, divider).map((row) =>
    row.kind === "message" ? (row.head ? "H" : "-") + (row.tail ? "T" : "-") : row.kind,
  );
}

function say(timeline, stamp, from, at) {
  return timeline.add({ type: "message", payload: "x", position: `e.${stamp}`, from }, { at });
}

test("messages of one author within five minutes stand together", () => {
  const timeline = new Timeline();
  say(timeline, 1, bob, 0);
  say(timeline, 2, bob, 10);
  say(timeline, 3, bob, 20);
  say(timeline, 4, cleo, 30);
  say(timeline, 5, bob, 40);
  say(timeline, 6, bob, 40 + TOGETHER);
  assert.deepEqual(shape(timeline), ["H-", "--", "-T", "HT", "HT", "HT"]);
});

test("history without times stands together, and apart from what is said now", () => {
  const timeline = new Timeline();
  say(timeline, 1, bob, null);
  say(timeline, 2, bob, null);
  say(timeline, 3, bob, 5);
  assert.deepEqual(shape(timeline), ["H-", "-T", "HT"]);
});

test("a notice and the line above the unread part what they stand between", () => {
  const timeline = new Timeline();
  say(timeline, 1, bob, 0);
  const unread = say(timeline, 2, bob, 0);
  timeline.gap();
  say(timeline, 3, bob, 0);
  timeline.presence("cleo", true);
  assert.deepEqual(shape(timeline, unread.key), ["HT", "new", "HT", "gap", "HT", "presence"]);
  const sentences = rowsOf(timeline.entries)
    .filter((row) => row.kind !== "message")
    .map((row) => row.text);
  assert.deepEqual(sentences, [GAP_SENTENCE, "cleo joined"]);
});

test("a failed message stands apart from those that arrived", () => {
  const timeline = new Timeline();
  const me = { author: "user:ada", name: "ada" };
  for (const at of [1, 2, 3]) timeline.send("x", at, me);
  timeline.fail(timeline.entries[1].key, "no");
  assert.deepEqual(shape(timeline), ["HT", "HT", "HT"]);
});

test("keys of rows are unique, so that each keeps its element", () => {
  const timeline = new Timeline();
  for (let stamp = 1; stamp < 5; stamp += 1) say(timeline, stamp, bob, 0);
  timeline.gap();
  timeline.send("x", 0, { author: "user:ada", name: "ada" });
  const keys = rowsOf(timeline.entries, timeline.entries[2].key).map((row) => row.key);
  assert.equal(new Set(keys).size, keys.length);
});

test("the examples lead to the server that the page came from, and to the open channel", () => {
  const snippets = snippetsFor({ host: "example.org:8443", secure: true }, "chat:help");
  assert.deepEqual(
    snippets.map((snippet) => snippet.id),
    ["raw", "websocat", "json", "sdk"],
  );
  const [raw, websocat, json] = snippets.map((snippet) => snippet.code);
  assert.match(raw, /new WebSocket\("wss:\/\/example\.org:8443\/raw\/chat:help"\)/);
  assert.equal(websocat, "websocat wss://example.org:8443/raw/chat:help");
  const [command, ...frames] = json.split("\n");
  assert.equal(command, "websocat wss://example.org:8443/openline");
  assert.deepEqual(
    frames.map((frame) => JSON.parse(frame).type),
    ["$connect", "$subscribe", "message"],
  );
  assert.match(snippetsFor({ host: "h", secure: false }, "chat:a")[0].code, /"ws:\/\/h\/raw\/chat:a"/);
});
