/** A joined channel of the chat demo, against a line that the test holds in its hands. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Me } from "../../src/openline/web/demo/me.js";
import { PAGE, Room } from "../../src/openline/web/demo/room.js";

const BOB = { connection: "c2", user: "bob" };
const said = (stamp, text = `m${stamp}`, from = BOB, epoch = "e") => ({
  type: "message",
  channel: "chat:lobby",
  payload: text,
  position: `${epoch}.${stamp}`,
  from,
});
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A channel whose answers the test gives. */
class Chat {
  handlers = new Map();
  members = new Map();
  count = 0;
  published = [];
  asked = [];
  typed = 0;
  isLeft = false;

  constructor() {
    this.ready = new Promise((resolve, reject) => Object.assign(this, { join: resolve, refuse: reject }));
  }
  on(type, handler) {
    this.handlers.set(type, handler);
  }
  emit(type, payload, event) {
    this.handlers.get(type)(payload, event);
  }
  hear(publication, more = {}) {
    this.emit("message", publication.payload, { ...publication, ...more });
  }
  publish(type, payload) {
    return new Promise((resolve, reject) => this.published.push({ type, payload, resolve, reject }));
  }
  history(range) {
    return new Promise((resolve, reject) => this.asked.push({ range, resolve, reject }));
  }
  typing() {
    this.typed += 1;
  }
  unsubscribe() {
    this.isLeft = true;
  }
}

function begin({ reading = true } = {}) {
  const chat = new Chat();
  const line = {
    connection: "c1",
    user: "ada",
    subscribe: (channel, options) => Object.assign(chat, { channel, options }),
  };
  const page = {
    reading,
    heard: [],
    changes: 0,
    changed: () => (page.changes += 1),
    isReading: () => page.reading,
    isFollowing: () => true,
    now: () => 1000,
  };
  const me = new Me(line, "ada");
  const room = new Room(line, "chat:lobby", me, {
    ...page,
    heard: (_, message) => page.heard.push(message.text),
    isReading: () => page.reading,
  });
  return { chat, line, page, me, room };
}

async function joined(options) {
  const all = begin(options);
  all.chat.join({});
  await turn();
  return all;
}

const messages = (room) => room.timeline.entries.filter((entry) => entry.kind === "message");

test("a room asks for the last page of history and for presence", () => {
  const { chat } = begin();
  assert.deepEqual([chat.channel, chat.options], ["chat:lobby", { last: PAGE, presence: true }]);
});

test("history has no time, is not unread and is not read aloud; what comes later is all of that", async () => {
  const { chat, room, page } = begin({ reading: false });
  chat.hear(said(1));
  chat.join({});
  await turn();
  chat.hear(said(2));
  assert.deepEqual(
    messages(room).map((message) => message.at),
    [null, 1000],
  );
  assert.deepEqual([room.unread, page.heard], [1, ["m2"]]);
});

test("what was said while the line was away is unread, but at a time nobody knows", async () => {
  const { chat, room } = await joined({ reading: false });
  chat.hear(said(1), { recovered: true });
  assert.deepEqual([room.unread, messages(room)[0].at], [1, null]);
});

test("opening a room reads it, and marks where the unread began until it is closed", async () => {
  const { chat, room } = await joined({ reading: false });
  chat.hear(said(1));
  chat.hear(said(2));
  room.open();
  assert.deepEqual([room.unread, room.divider], [0, messages(room)[0].key]);
  room.close();
  assert.equal(room.divider, null);
});

test("nothing is unread before the reader's eyes, nor what one says oneself in another window", async () => {
  const { chat, room, page } = await joined();
  chat.hear(said(1));
  page.reading = false;
  chat.hear(said(2, "mine", { connection: "c7", user: "ada" }));
  assert.equal(room.unread, 0);
  assert.deepEqual(page.heard, ["m1"]);
});

test("a text goes out as one publication with a plain string, and is sent when it is acknowledged", async () => {
  const { chat, room } = await joined();
  room.send("hello");
  assert.deepEqual([chat.published[0].type, chat.published[0].payload], ["message", "hello"]);
  assert.equal(messages(room)[0].state, "pending");
  chat.published[0].resolve({ position: "e.1" });
  await turn();
  chat.hear(said(1, "hello", { connection: "c1", user: "ada" }));
  assert.deepEqual(
    messages(room).map((message) => message.state),
    ["sent"],
  );
});

test("what this page published before its connection changed comes back once", async () => {
  const { chat, room, line, me } = await joined();
  me.isThisPage(BOB); // any question makes the page remember the connection it has
  room.send("hello");
  line.connection = "c5";
  chat.hear(said(4, "hello", { connection: "c1", user: "ada" }), { recovered: true });
  assert.equal(messages(room).length, 1);
});

test("a refused text says why and can be sent again", async () => {
  const { chat, room } = await joined();
  room.send("hello");
  chat.published[0].reject(Object.assign(new Error("not allowed"), { code: "forbidden" }));
  await turn();
  const [mine] = messages(room);
  assert.deepEqual([mine.state, mine.error], ["failed", "Not sent: not allowed"]);
  room.retry(mine.key);
  chat.published[1].resolve({ position: "e.2" });
  await turn();
  assert.deepEqual([mine.state, mine.position], ["sent", "e.2"]);
});

test("what an earlier page wrote stands there as on its way at once, and then as sent at the time when it was", async () => {
  const { chat, room, page } = begin();
  const restore = (payload, answer) => chat.emit("$restored", { type: "message", payload, at: 500, answer });
  restore("kept", Promise.resolve({ position: "e.1" }));
  restore("refused", Promise.reject(Object.assign(new Error("not allowed"), { code: "forbidden" })));
  restore("doubtful", Promise.reject(Object.assign(new Error("unknown"), { code: "unavailable" })));
  chat.emit("$restored", { type: "other", payload: 1, at: 500, answer: Promise.resolve({}) });
  const states = () => messages(room).map(({ text, state, at, error }) => [text, state, at, error]);
  assert.deepEqual(states(), ["kept", "refused", "doubtful"].map((text) => [text, "pending", 500, ""]));
  const { changes } = page;
  await turn();
  assert.deepEqual(states(), [
    ["kept", "sent", 1000, ""],
    ["refused", "failed", 500, "Not sent: not allowed"],
    ["doubtful", "failed", 500, "This may not have arrived."],
  ]);
  assert.ok(page.changes >= changes);
});

test("what another tab has taken over stands here no more until it publishes it", async () => {
  const { chat, room } = await joined();
  room.send("hello");
  chat.published[0].reject(Object.assign(new Error("another page publishes it"), { code: "elsewhere" }));
  await turn();
  assert.deepEqual(messages(room), []);
  chat.hear(said(1, "hello", { connection: "c9", user: "ada" }));
  assert.deepEqual(messages(room).map(({ own, state }) => [own, state]), [[true, "sent"]]);
});

test("a gap leaves a line, keeps what is shown, and merges what the history still has", async () => {
  const { chat, room } = await joined();
  chat.hear(said(1));
  chat.emit("$gap", { position: "e.9" });
  chat.hear(said(10));
  chat.asked[0].resolve({ publications: [said(8), said(9), { ...said(7), type: "other" }, said(10)], more: true });
  await turn();
  const shown = room.timeline.entries.map((entry) => (entry.kind === "message" ? entry.text : entry.kind));
  assert.deepEqual(shown, ["m1", "gap", "m8", "m9", "m10"]);
  assert.equal(room.unread, 0);
});

test("older pages are asked for from where the last one began, though it held nothing to show", async () => {
  const { chat, room } = await joined();
  chat.hear(said(100));
  room.loadOlder();
  room.loadOlder();
  assert.equal(chat.asked.length, 1);
  assert.deepEqual(chat.asked[0].range, { limit: PAGE, before: "e.100" });
  chat.asked[0].resolve({ publications: [{ ...said(50), type: "other" }], more: true });
  await turn();
  assert.equal(room.older, "some");
  room.loadOlder();
  assert.equal(chat.asked[1].range.before, "e.50");
  chat.asked[1].resolve({ publications: [said(1)], more: false });
  await turn();
  assert.deepEqual([room.older, messages(room).map((message) => message.text)], ["none", ["m1", "m100"]]);
});

test("an older page does not settle a text that is still on its way", async () => {
  const { chat, room } = await joined();
  chat.hear(said(9));
  room.send("hi");
  room.loadOlder();
  chat.asked[0].resolve({ publications: [said(3, "hi", { connection: "c1", user: "ada" })], more: false });
  await turn();
  assert.deepEqual(
    messages(room).map((message) => message.state),
    ["sent", "sent", "pending"],
  );
});

test("older messages can be asked for again when the server did not answer", async () => {
  const { chat, room } = await joined();
  chat.hear(said(9));
  room.loadOlder();
  chat.asked[0].reject(new Error("unavailable"));
  await turn();
  assert.equal(room.older, "some");
});

test("a full first page means that there may be more", async () => {
  const { chat, room } = begin();
  for (let stamp = 1; stamp <= PAGE; stamp += 1) chat.hear(said(stamp));
  chat.join({});
  await turn();
  assert.equal(room.older, "some");
});

test("who comes and goes leaves a line; oneself, and a second window of somebody, do not", async () => {
  const { chat, room } = await joined();
  const notices = () => room.timeline.entries.filter((entry) => entry.kind === "presence").length;
  chat.emit("$joined", { member: { connection: "c1", user: "ada" }, count: 1 });
  assert.equal(notices(), 0);
  chat.emit("$joined", { member: BOB, count: 2 });
  chat.hear(said(1));
  chat.emit("$joined", { member: { connection: "c3", user: "bob" }, count: 3 });
  chat.emit("$left", { member: BOB, reason: "closed", count: 2 });
  assert.equal(notices(), 1);
  chat.emit("$left", { member: { connection: "c3", user: "bob" }, reason: "lost", count: 1 });
  assert.equal(notices(), 2);
});

test("somebody types until they have said it, or are gone; oneself never does", async () => {
  const { chat, room } = await joined();
  const cleo = { connection: "c4", user: "cleo" };
  chat.emit("$typing", [BOB, cleo, { connection: "c9", user: "ada" }]);
  assert.deepEqual(room.typing, ["bob", "cleo"]);
  chat.hear(said(1));
  assert.deepEqual(room.typing, ["cleo"]);
  chat.emit("$left", { member: cleo, count: 1 });
  assert.deepEqual(room.typing, []);
});

test("presence may be a list or a map by connection", async () => {
  const { chat, room, me } = await joined();
  const names = () => room.people.list((member) => me.isMe(member)).map((person) => person.name);
  chat.emit("$presence", { count: 1, members: [BOB] });
  assert.deepEqual(names(), ["bob"]);
  chat.emit("$presence", { count: 1, members: new Map([["c8", { connection: "c8", user: "dora" }]]) });
  assert.deepEqual(names(), ["dora"]);
});

test("a channel that may not be joined says why", async () => {
  const { chat, room } = begin();
  chat.refuse(new Error("you may not join this channel"));
  await turn();
  assert.deepEqual([room.state, room.error], ["refused", "you may not join this channel"]);
});

test("typing is told only where one has joined, and leaving ends the subscription", async () => {
  const { chat, room } = begin();
  room.tellTyping();
  assert.equal(chat.typed, 0);
  chat.join({});
  await turn();
  room.tellTyping();
  room.leave();
  assert.deepEqual([chat.typed, chat.isLeft], [1, true]);
});
