/** Owns what the pages of one origin share, a database and locks that end with their page, and a visit to a channel. */

import { IDBFactory } from "fake-indexeddb";
// Loaded here, it takes no more than a turn to load it again.
import "../../src/openline/web/sdk/openline/stay.js";
import { FakeClock, FakeTarget, Stage, heard, settle } from "./stage.mjs";

/** Lets the database do everything that it was asked for; it takes some turns for each step. */
export async function rest() {
  for (let turn = 0; turn < 20; turn += 1) await settle();
}

/** The locks of one page, among those of its origin (Web Locks API; exclusive ones only). */
class Locks {
  #held;
  #dead = false;

  /** @param {Map<string, Locks>} held */
  constructor(held) {
    this.#held = held;
  }

  async request(name, run) {
    if (this.#dead) return new Promise(() => {});
    if (this.#held.has(name)) throw new Error(`nobody asks for a lock that is held: ${name}`);
    this.#held.set(name, this);
    try {
      return await run({ name });
    } finally {
      if (this.#held.get(name) === this) this.#held.delete(name);
    }
  }

  async query() {
    return { held: Array.from(this.#held.keys(), (name) => ({ name })), pending: [] };
  }

  /** The page dies. */
  drop() {
    this.#dead = true;
    for (const [name, locks] of this.#held) if (locks === this) this.#held.delete(name);
  }
}

/** A clock that stops for one page, and goes on for all others. */
class PageClock {
  #clock;
  #timers = new Set();
  #dead = false;

  constructor(clock) {
    this.#clock = clock;
  }

  now = () => this.#clock.now();
  random = () => this.#clock.random();
  setTimeout = (run, ms) => {
    const timer = this.#dead ? 0 : this.#clock.setTimeout(run, ms);
    this.#timers.add(timer);
    return timer;
  };
  clearTimeout = (timer) => {
    this.#timers.delete(timer);
    this.#clock.clearTimeout(timer);
  };
  get timers() {
    return this.#clock.timers;
  }
  advance = (ms) => this.#clock.advance(ms);

  stop() {
    this.#dead = true;
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
  }
}

/** One browser, seen from the pages of one origin. */
export class Origin {
  indexedDB = new IDBFactory();
  held = new Map();
  url = `ws://origin-${(Origin.made += 1)}.test/openline`;
  clock = new FakeClock();
  #pages = 0;
  static made = 0;

  /** A page of this origin whose messages are `persist`'s; `missing` are the words that its window does not know. */
  page({ persist = "ada", missing = [], ...more } = {}) {
    const locks = new Locks(this.held);
    const clock = new PageClock(this.clock);
    const window = Object.assign(new FakeTarget(), { indexedDB: this.indexedDB, navigator: { locks } });
    for (const word of missing) delete (word in window ? window : window.navigator)[word];
    const page = { window, document: Object.assign(new FakeTarget(), { hidden: false }) };
    // Each page has a line of its own.
    const url = `${this.url}?page=${(this.#pages += 1)}`;
    const stage = new Stage({ clock, page, outbox: { persist, ...more.outbox }, url });
    return Object.assign(stage, { locks, clock, ...page });
  }

  /** The page ends without a word, as in a crash. */
  kill(stage) {
    stage.dead = true;
    stage.clock.stop();
    stage.locks.drop();
    for (const socket of stage.sockets) Object.assign(socket, { readyState: 3, onmessage: () => {}, onclose: () => {} });
  }

  /** What lies on the shelf, as the database has it. */
  async kept() {
    const asked = this.indexedDB.open("openline-outbox", 1);
    const db = await new Promise((resolve) => {
      // Nobody has made it yet: then it is not made here either.
      asked.onupgradeneeded = () => asked.transaction.abort();
      asked.onerror = () => resolve(undefined);
      asked.onsuccess = () => resolve(asked.result);
    });
    if (!db) return [];
    const all = db.transaction("publications").objectStore("publications").getAll();
    await new Promise((resolve) => (all.onsuccess = resolve));
    db.close();
    return all.result.sort((one, other) => one.order - other.order);
  }
}

export const LOBBY = "chat:lobby";

/** A page, its channel, and everything that it is told of the shelf. */
export function visit(origin, options) {
  const page = origin.page(options);
  const chat = page.line.subscribe(LOBBY);
  return Object.assign(page, {
    chat,
    restored: heard(chat, "$restored"),
    undelivered: heard(page.line, "$undelivered"),
    outbox: heard(page.line, "$outbox"),
  });
}

/** The line of a page opens, and it has joined. */
export async function open(page, reply) {
  await page.open(reply);
  if (page.socket.sent.some(({ type }) => type === "$subscribe")) {
    page.socket.reply("$subscribe", { channel: LOBBY, position: "e.10", publications: [] });
  }
  await rest();
}

export const sent = ({ socket }) => socket.sent.filter(({ type }) => !type.startsWith("$")).map(({ payload }) => payload);

/** The server takes whatever the page sends, one after the other. */
export async function take(page, count) {
  const frames = [];
  for (let at = 0; at < count; at += 1) {
    frames.push(page.socket.reply("message", { position: `e.${20 + at}` }));
    await rest();
  }
  return frames;
}
