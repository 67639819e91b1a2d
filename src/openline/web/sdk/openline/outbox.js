/** Owns what is under way to the server: kept until it is answered, sent again after a reconnect, applied once. */
/** @import * as T from "./types.js" */

import { OpenlineError, errorOf, sizeOf, unwrap, write } from "./frames.js";
import { newKey } from "./surroundings.js";
import { delay } from "./socket.js";

/** @type {Record<string, T.Kind>} */
const KINDS = {
  // One at a time in a channel: if the engine did not answer the first, the second must not get ahead of its repetition.
  publication: { width: 1, keyed: true, bound: false },
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

  /** @param {T.Clock} clock @param {T.Options["outbox"]} limits */
  constructor(clock, { bytes = 1_048_576, entries = 1000 } = {}) {
    this.#clock = clock;
    this.#limits = { bytes, entries };
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
      /** @type {T.Entry} */
      const entry = {
        ...{ text, bytes, lane, resolve, reject, key: newKey(), kind: KINDS[kind] },
        ...{ away: false, tried: false, tries: 0, id: 0 },
      };
      this.#entries.add(entry);
      this.#bytes += bytes;
      if (timeout !== undefined) entry.limit = this.#clock.setTimeout(() => this.#giveUp(entry), timeout);
      this.#flush();
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
   * @param {boolean} resumed @param {number} [message] the longest that the server takes
   */
  opened(resumed, message = this.#message) {
    this.#message = message;
    for (const entry of this.#entries) {
      if (entry.bytes + ROOM > message) this.#reject(entry, tooLarge());
      else if (!resumed && entry.tried && entry.kind.bound) {
        this.#reject(entry, new OpenlineError("unavailable", "the outcome is unknown", { retry: true }));
      }
    }
    this.#flush();
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
  }

  /** @param {T.Frame} frame @returns {string} its text, if the server takes one so long */
  write(frame) {
    const text = write(frame);
    if (sizeOf(text) + ROOM > this.#message) throw tooLarge();
    return text;
  }

  // An id is never used again, so an answer that comes late finds nobody.
  /** @param {string} text @param {T.Waiting} waiting */
  #send(text, waiting) {
    const id = ++this.#lastId;
    this.#waiting.set(id, waiting);
    this.#transport?.send(`{"id":${id},${text.slice(1)}`);
    return id;
  }

  #flush() {
    if (!this.#transport) return;
    for (const entry of this.#entries) {
      const busy = this.#busy.get(entry.lane) ?? 0;
      if (entry.away || busy >= entry.kind.width) continue;
      this.#busy.set(entry.lane, busy + 1);
      entry.away = entry.tried = true;
      const text = entry.kind.keyed ? `{"key":"${entry.key}",${entry.text.slice(1)}` : entry.text;
      entry.id = this.#send(text, { answer: (frame) => this.#settle(entry, frame) });
    }
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

  /** @param {T.Entry} entry @param {Error} error */
  #reject(entry, error) {
    this.#remove(entry);
    entry.reject(error);
  }

  /** @param {T.Entry} entry */
  #remove(entry) {
    this.#entries.delete(entry);
    this.#bytes -= entry.bytes;
    this.#clock.clearTimeout(entry.rest);
    this.#clock.clearTimeout(entry.limit);
    if (entry.away) this.#release(entry);
  }

  /** @param {T.Entry} entry */
  #release({ lane }) {
    this.#busy.set(lane, (this.#busy.get(lane) ?? 0) - 1);
    if (this.#busy.get(lane) === 0) this.#busy.delete(lane);
  }
}

const tooLarge = () => new OpenlineError("too_large", "it would not fit into a message");
