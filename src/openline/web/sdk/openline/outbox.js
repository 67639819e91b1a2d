/** Owns what is under way to the server: kept until it is answered, sent again after a reconnect, applied once. */
/** @import * as T from "./types.js" */

import { OpenlineError, errorOf, read, sizeOf, unwrap, write } from "./frames.js";
import { SLOW_MS, inTime, newKey } from "./surroundings.js";
import { delay } from "./socket.js";

/** The server knows a key of a publication for 5 minutes; one of them is for what is under way, and for its clock. */
const KEY_MS = 240_000;
/** @type {Record<string, T.Kind>} */
const KINDS = {
  // One at a time in a channel: if the engine did not answer the first, the second must not get ahead of its repetition.
  publication: { width: 1, keyed: true, bound: false, life: KEY_MS },
  // The server remembers the last 256 keys of a connection: no more may be under way when the line breaks.
  event: { width: 128, keyed: true, bound: true },
  read: { width: 128, keyed: false, bound: false },
};
/** Room for `"id":…,"key":"…",` in front of a frame. */
const ROOM = 80;
/** A volatile publication is dropped rather than queued behind so many others, or so many bytes. */
const PASSING = 256;
const BUFFERED = 1_048_576;

/** @implements {T.Outbox} */
export class Outbox {
  #clock;
  #limits;
  /** @type {T.Transport | undefined} */
  #transport;
  #lastId = 0;
  /** @type {Map<unknown, T.Waiting>} */
  #waiting = new Map();
  /** In the order in which they were made. @type {Set<T.Entry>} */
  #entries = new Set();
  #bytes = 0;
  /** How many of a lane are away. @type {Map<string, number>} */
  #busy = new Map();
  #passing = 0;
  #message = 65_536;
  /** @type {Error | undefined} */
  #closed;
  /** Whose connection it is; undefined until that is known. @type {string | null | undefined} */
  #user;
  /** Of the newest entry: later ones have a higher one, whatever becomes of the clock. */
  #order = 0;

  #tell;
  /** At the shelf, where publications outlive the page, if they are to. @type {T.Stay | undefined} */
  #stay;
  /** Nobody knows yet what lies there: publications wait, for it is older. */
  #reading = false;
  #paused = false;

  /** @param {T.Clock} clock @param {T.Options["outbox"]} limits @param {T.Tell} tell */
  constructor(clock, { bytes = 1_048_576, entries = 1000 } = {}, tell) {
    this.#clock = clock;
    this.#limits = { bytes, entries };
    this.#tell = tell;
  }

  /** What it keeps outlives the page from here on. @param {T.LoadStay} load */
  async persist(load) {
    this.#reading = true;
    const guest = {
      asks: () => this.#asks(),
      took: (/** @type {T.Shelf} */ shelf, /** @type {T.Kept[]} */ records, /** @type {T.Entry[]} */ lost) =>
        this.#took(shelf, records, lost),
      settled: () => this.#settled(),
      tell: this.#tell,
    };
    const loading = load(guest).then((stay) => {
      this.#stay = stay;
      if (!this.#paused && !this.#closed) stay.begin();
    });
    try {
      await inTime(this.#clock, loading, SLOW_MS);
    } catch (error) {
      this.#tell("$outbox", { persists: false, reason: String(error) });
      this.#settled();
    }
  }

  /** @type {T.Outbox["submit"]} */
  async submit(kind, frame, timeout) {
    if (this.#closed) throw this.#closed;
    const text = this.write(frame);
    const bytes = sizeOf(text);
    if (this.#entries.size >= this.#limits.entries || this.#bytes + bytes > this.#limits.bytes) {
      throw new OpenlineError("too_many", "the outbox is full", { retry: true });
    }
    return new Promise((resolve, reject) => {
      const lane = kind === "publication" ? `channel ${frame.channel}` : kind;
      const at = this.#clock.now();
      this.#order = Math.max(at, this.#order + 1);
      /** @type {T.Entry} */
      const entry = {
        ...{ text, bytes, lane, resolve, reject, key: newKey(), kind: KINDS[kind], at, order: this.#order },
        ...{ away: false, tried: undefined, tries: 0, id: 0, user: this.#user },
      };
      this.#entries.add(entry);
      this.#bytes += bytes;
      if (timeout !== undefined) entry.limit = this.#clock.setTimeout(() => this.#giveUp(entry), timeout);
      this.#flush();
      if (entry.kind.life && !entry.away && !this.#reading) this.#stay?.put(entry);
    });
  }

  /** @type {T.Outbox["pass"]} */
  async pass(frame) {
    if (this.#closed) throw this.#closed;
    const text = this.write(frame);
    if (!this.#transport || this.#passing >= PASSING || this.#transport.buffered() > BUFFERED) return {};
    this.#passing += 1;
    /** @type {T.Frame | undefined} */
    const answer = await new Promise((resolve) => {
      this.#send(text, { answer: resolve, lost: () => resolve(undefined) });
    });
    this.#passing -= 1;
    if (answer?.type === "$error") throw errorOf(answer);
    return answer?.payload ?? {};
  }

  /** @type {T.Outbox["call"]} */
  call(frame, answer) {
    if (!this.#transport) return;
    try {
      this.#send(this.write(frame), { answer });
    } catch (error) {
      answer({ .../** @type {OpenlineError} */ (error), type: "$error" });
    }
  }

  /** @type {T.Outbox["ahead"]} */
  ahead(frame, answer, most) {
    try {
      const text = this.write(frame);
      if (sizeOf(text) + ROOM <= most) return this.#number(text, { answer });
    } catch {
      // Asked for when the line is open, it is told why.
    }
    return undefined;
  }

  /** @param {string} text of a frame that nobody answers */
  tell(text) {
    this.#transport?.send(text);
  }

  /** @param {T.Frame} frame a `$reply` or an `$error`; false if nobody waits for it */
  answered(frame) {
    const waiting = this.#waiting.get(frame.id);
    this.#waiting.delete(frame.id);
    waiting?.answer(frame);
    return waiting !== undefined;
  }

  /** @param {T.Transport | undefined} transport of the line that is open now */
  carry(transport) {
    this.#transport = transport;
  }

  /**
   * Lets everything leave that waits, the oldest first.
   *
   * @param {string | null} user @param {boolean} resumed @param {number} [message] the longest that the server takes
   */
  opened(user, resumed, message = this.#message) {
    this.#user = user;
    this.#message = message;
    for (const entry of this.#entries) {
      if (!resumed && entry.tried !== undefined && entry.kind.bound) this.#reject(entry, unknown());
    }
    this.#flush();
    this.look();
  }

  /** The line broke: what was not answered waits again. */
  lost() {
    this.#transport = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#busy.clear();
    for (const entry of this.#entries) {
      entry.away = false;
      this.#clock.clearTimeout(entry.rest);
    }
    for (const { lost } of waiting) lost?.();
  }

  /** @param {Error} error what everything that waits, and all that still comes, is rejected with */
  close(error) {
    this.#closed = error;
    for (const entry of this.#entries) this.#reject(entry, error);
    this.#stay?.end();
  }

  /** The page goes for good: what is on the shelf stays there, and nobody is told an outcome. */
  leave() {
    for (const entry of this.#entries) if (this.#stay && entry.kind.life) this.#remove(entry, true);
  }

  /** The page is put aside, and may come back: others may take until then what it has on the shelf. */
  pause() {
    this.#paused = true;
    this.#reading ||= this.#stay !== undefined;
    this.#stay?.end();
  }

  /** The page is back. */
  goOn() {
    this.#paused = false;
    this.#stay?.begin();
  }

  /** Takes what pages that have died meanwhile had on the shelf. */
  look() {
    if (!this.#reading) this.#stay?.look();
  }

  /** @param {string} channel @returns {T.Restored[]} what an earlier page wrote there, and waits */
  restored(channel) {
    const entries = [...this.#entries].filter(({ restored }) => restored?.channel === channel);
    return entries.map(({ restored }) => /** @type {T.Restored} */ (restored));
  }

  /** @param {T.Frame} frame @returns {string} its text, if the server takes one so long */
  write(frame) {
    const text = write(frame);
    if (sizeOf(text) + ROOM > this.#message) throw tooLarge();
    return text;
  }

  // An id is never used again, so an answer that comes late finds nobody.
  /** @param {string} text @param {T.Waiting} waiting */
  #number(text, waiting) {
    this.#waiting.set(++this.#lastId, waiting);
    return `{"id":${this.#lastId},${text.slice(1)}`;
  }

  /** @param {string} text @param {T.Waiting} waiting @returns {number} its id */
  #send(text, waiting) {
    const numbered = this.#number(text, waiting);
    const id = this.#lastId;
    this.#transport?.send(numbered);
    return id;
  }

  #flush() {
    if (!this.#transport) return;
    for (const entry of this.#entries) {
      const busy = this.#busy.get(entry.lane) ?? 0;
      const waits = this.#reading && entry.kind.life;
      if (waits || entry.away || busy >= entry.kind.width || this.#refused(entry)) continue;
      this.#busy.set(entry.lane, busy + 1);
      entry.away = true;
      entry.user ??= this.#user;
      this.#depart(entry);
    }
  }

  /** What must not leave, or not any more, is rejected. @param {T.Entry} entry */
  #refused(entry) {
    const { shelf, user, kind, tried, bytes } = entry;
    const age = this.#clock.now() - (tried ?? Infinity);
    // Its own user will find it on the shelf.
    if (shelf && user !== undefined && this.#user !== undefined && user !== this.#user) {
      this.#reject(entry, new OpenlineError("forbidden", "another user wrote it"), true);
    } else if (bytes + ROOM > this.#message) this.#reject(entry, tooLarge());
    // A clock that was set back says nothing about how long ago it was.
    else if (kind.life && tried !== undefined && !(age >= 0 && age < kind.life)) this.#reject(entry, unknown());
    else return false;
    return true;
  }

  /** @param {T.Entry} entry */
  async #depart(entry) {
    const transport = this.#transport;
    const tried = entry.tried ?? this.#clock.now();
    // Should the page die now, the next one must know that this was tried.
    if (this.#stay && entry.kind.life) entry.putting = this.#stay.put(entry, tried);
    const may = entry.putting ? await entry.putting : true;
    if (!entry.away || this.#transport !== transport || !this.#entries.has(entry)) return;
    if (!may) return this.#rest(entry);
    entry.tried = tried;
    const text = entry.kind.keyed ? `{"key":"${entry.key}",${entry.text.slice(1)}` : entry.text;
    entry.id = this.#send(text, { answer: (frame) => this.#settle(entry, frame) });
  }

  /** @param {T.Entry} entry @param {T.Frame} frame */
  #settle(entry, frame) {
    if (frame.type === "$reply") {
      this.#remove(entry);
      entry.resolve(unwrap(frame));
    } else if (frame.retry === true) this.#rest(entry);
    else this.#reject(entry, errorOf(frame));
    this.#flush();
  }

  // It keeps its place meanwhile, and the lane waits for it.
  /** @param {T.Entry} entry */
  #rest(entry) {
    // A handler's answer is remembered under its key: only a new one makes the server try again.
    if (entry.kind.bound) entry.key = newKey();
    const again = () => {
      this.#release(entry);
      entry.away = false;
      this.#flush();
    };
    entry.rest = this.#clock.setTimeout(again, delay(entry.tries++, this.#clock.random));
  }

  /** @param {T.Entry} entry */
  #giveUp(entry) {
    this.#waiting.delete(entry.id);
    this.#reject(entry, new OpenlineError("timeout", "no answer in time"));
    this.#flush();
  }

  /** @param {T.Entry} entry @param {Error} error @param {boolean} [stays] on the shelf, for somebody else */
  #reject(entry, error, stays) {
    this.#remove(entry, stays);
    entry.reject(error);
    if (!entry.restored || stays) return;
    const { answer: _, ...said } = entry.restored;
    this.#tell("$undelivered", { ...said, error });
  }

  /** @param {T.Entry} entry @param {boolean} [stays] */
  #remove(entry, stays) {
    this.#entries.delete(entry);
    this.#bytes -= entry.bytes;
    this.#clock.clearTimeout(entry.rest);
    this.#clock.clearTimeout(entry.limit);
    if (entry.away) this.#release(entry);
    if (!stays && entry.kind.life) this.#stay?.remove(entry);
  }

  /** @param {T.Entry} entry */
  #release({ lane }) {
    this.#busy.set(lane, (this.#busy.get(lane) ?? 0) - 1);
    if (this.#busy.get(lane) === 0) this.#busy.delete(lane);
  }

  async #settled() {
    this.#reading = false;
    const left = [...this.#entries].filter(({ kind, shelf }) => kind.life && !shelf);
    // What is about to leave is put there by that.
    const put = left.map((entry) => (entry.away && entry.tried === undefined ? entry.putting : this.#stay?.put(entry)));
    this.#flush();
    await Promise.all(put);
  }

  #asks() {
    const { bytes, entries } = this.#limits;
    const known = new Map(Array.from(this.#entries, (entry) => [entry.key, entry]));
    for (const [key, { kind }] of known) if (!kind.life) known.delete(key);
    return { known, room: { bytes: bytes - this.#bytes, entries: entries - this.#entries.size } };
  }

  /** @param {T.Shelf} shelf @param {T.Kept[]} records of earlier pages @param {T.Entry[]} lost to others meanwhile */
  #took(shelf, records, lost) {
    const entries = records.map((record) => entryOf(record, shelf)).filter((entry) => entry !== undefined);
    this.#entries = new Set([...entries, ...this.#entries]);
    for (const { bytes, order } of entries) {
      this.#bytes += bytes;
      this.#order = Math.max(this.#order, order);
    }
    const elsewhere = new OpenlineError("elsewhere", "another page publishes it");
    for (const entry of lost) if (this.#entries.has(entry)) this.#reject(entry, elsewhere, true);
    for (const entry of entries) if (!this.#refused(entry)) this.#tell("$restored", entry.restored);
  }
}

/** @param {T.Kept} record @param {T.Shelf} shelf @returns {T.Entry | undefined} undefined for what is no frame */
function entryOf(record, shelf) {
  const frame = read(record.text);
  if (!frame) return undefined;
  const { channel, type } = frame;
  /** @type {any} */
  let settle;
  const answer = new Promise((resolve, reject) => (settle = { resolve, reject }));
  // Who does not wait for it learns of a refusal from "$undelivered".
  answer.catch(() => {});
  return {
    ...{ ...record, ...settle, shelf, asked: true, kind: KINDS.publication, lane: `channel ${channel}` },
    ...{ away: false, tries: 0, id: 0, restored: { channel, type, payload: unwrap(frame), at: record.at, answer } },
  };
}

const tooLarge = () => new OpenlineError("too_large", "it would not fit into a message");
const unknown = () => new OpenlineError("unavailable", "the outcome is unknown", { retry: true });
