/** Owns what one channel shows: messages merged by position, messages on their way, notices between them. */

import { memberId, memberName } from "./names.js";
import { parsePosition } from "./positions.js";

export const KEPT_ENTRIES = 1000;
export const KEPT_CHARACTERS = 2_000_000;
const NAMES_PER_NOTICE = 200;

/**
 * @typedef {{kind: "message", key: string, author: string, name: string, own: boolean, text: string,
 *   at: number | null, state: "sent" | "pending" | "failed", error: string, local: boolean,
 *   position: string | null, epoch: string, stamp: number}} Message
 *   at: when this page saw it, in ms; null when that says nothing (history). local: it was written on this page.
 * @typedef {{kind: "presence", key: string, changes: Map<string, {came: boolean, here: boolean}>}} Presence
 * @typedef {{kind: "gap", key: string}} Gap
 * @typedef {Message | Presence | Gap} Entry
 * @typedef {{type: string, payload?: unknown, encoding?: string, position?: string,
 *   from?: import("./names.js").Member}} Publication
 */

export class Timeline {
  /** @type {string[]} oldest first, as far as this page can know */
  #epochs = [];
  /** @type {Entry[]} */
  #settled = [];
  /** @type {Message[]} */
  #waiting = [];
  /** @type {Map<string, Message>} */
  #byPosition = new Map();
  #characters = 0;
  #keys = 0;

  /** Everything in the order of the page: what is in the log, then what is still on its way. */
  get entries() {
    return [...this.#settled, ...this.#waiting];
  }

  /** The position of the oldest message shown, to ask for what lies before it. */
  get oldest() {
    for (const entry of this.#settled) if (entry.kind === "message" && entry.position) return entry.position;
    return null;
  }

  /**
   * Put a publication into its place; null when it is already here.
   *
   * `echo` says that a connection of this page published it: it settles the message that waits with the same text.
   * `older` says that it comes from a page of history in front of everything shown.
   * @param {Publication} publication
   * @param {{at?: number | null, own?: boolean, echo?: boolean, older?: boolean}} [how]
   * @returns {Message | null}
   */
  add(publication, how = {}) {
    const { at = null, own = false, echo = false, older = false } = how;
    const position = publication.position ?? null;
    if (position !== null && this.#byPosition.has(position)) return null;
    const text = textOf(publication.payload, publication.encoding);
    const waiting = echo ? this.#waitingWith(text) : undefined;
    if (waiting) return this.#settle(waiting, position);
    const message = this.#message(text, {
      at,
      own,
      author: memberId(publication.from),
      name: memberName(publication.from),
    });
    this.#place(message, position, older);
    return message;
  }

  /** Show a text at once, as on its way. */
  send(/** @type {string} */ text, /** @type {number} */ at, /** @type {{author: string, name: string}} */ me) {
    const message = this.#message(text, { at, own: true, ...me });
    message.state = "pending";
    message.local = true;
    this.#waiting.push(message);
    return message;
  }

  /** The server has taken a message of ours: it stands at `position`, whatever was guessed from its text before. */
  acknowledge(/** @type {string} */ key, /** @type {string | null} */ position) {
    const holder = position === null ? undefined : this.#byPosition.get(position);
    if (holder?.key === key) return;
    const message = this.#waiting.find((entry) => entry.key === key) ?? this.#recall(key);
    if (!message) return;
    if (holder) this.#withdraw(holder);
    this.#settle(message, position);
  }

  /** A message of ours was refused, or is lost. */
  fail(/** @type {string} */ key, /** @type {string} */ error) {
    const message = this.#waiting.find((entry) => entry.key === key);
    if (message) Object.assign(message, { state: "failed", error });
  }

  /** A failed message goes out again, behind the others; undefined when it is not waiting any more. */
  retry(/** @type {string} */ key, /** @type {number} */ at) {
    const message = this.remove(key);
    if (!message) return undefined;
    this.#waiting.push(Object.assign(message, { state: "pending", error: "", at }));
    return message;
  }

  /** Give up a message that has not arrived. */
  remove(/** @type {string} */ key) {
    const message = this.#waiting.find((entry) => entry.key === key);
    this.#waiting = this.#waiting.filter((entry) => entry !== message);
    return message;
  }

  /** Note that somebody came or went; neighbours share one line. */
  presence(/** @type {string} */ name, /** @type {boolean} */ here) {
    const last = this.#settled[this.#settled.length - 1];
    const open = last?.kind === "presence" && (last.changes.size < NAMES_PER_NOTICE || last.changes.has(name));
    const notice = open ? last : { kind: /** @type {const} */ ("presence"), key: this.#key(), changes: new Map() };
    if (!open) this.#settled.push(notice);
    notice.changes.set(name, { came: notice.changes.get(name)?.came ?? here, here });
  }

  /** Note that something was lost here; once, however often it is said. */
  gap() {
    if (this.#settled[this.#settled.length - 1]?.kind !== "gap") this.#settled.push({ kind: "gap", key: this.#key() });
  }

  /** Let go of the oldest beyond what is kept; true when something went. */
  trim(entries = KEPT_ENTRIES, characters = KEPT_CHARACTERS) {
    let gone = 0;
    while (
      gone < this.#settled.length - 1 &&
      (this.#settled.length - gone > entries || this.#characters > characters)
    ) {
      const entry = this.#settled[gone++];
      if (entry.kind !== "message") continue;
      this.#characters -= entry.text.length;
      if (entry.position) this.#byPosition.delete(entry.position);
    }
    this.#settled.splice(0, gone);
    return gone > 0;
  }

  /** @returns {Message} */
  #message(
    /** @type {string} */ text,
    /** @type {{at: number | null, own: boolean, author: string, name: string}} */ of,
  ) {
    return {
      kind: "message",
      key: this.#key(),
      text,
      ...of,
      state: "sent",
      error: "",
      local: false,
      position: null,
      epoch: "",
      stamp: 0,
    };
  }

  #key() {
    this.#keys += 1;
    return `entry-${this.#keys}`;
  }

  /** The oldest message on its way with this text; a failed one only when none other is: its outcome was unknown. */
  #waitingWith(/** @type {string} */ text) {
    const same = this.#waiting.filter((entry) => entry.text === text);
    return same.find((entry) => entry.state === "pending") ?? same[0];
  }

  #settle(/** @type {Message} */ message, /** @type {string | null} */ position) {
    this.#waiting = this.#waiting.filter((entry) => entry !== message);
    Object.assign(message, { state: "sent", error: "" });
    this.#place(message, position, false);
    return message;
  }

  /** Take a message off the place that its text had won it, and leave there what was really published. */
  #recall(/** @type {string} */ key) {
    const message = this.#settled.find((entry) => entry.key === key);
    if (message?.kind !== "message" || !message.local) return undefined;
    const stays = { ...message, key: this.#key(), local: false };
    this.#settled[this.#settled.indexOf(message)] = stays;
    if (stays.position) this.#byPosition.set(stays.position, stays);
    return message;
  }

  /** Clear a place for the message it belongs to; one of ours that stood there waits on. */
  #withdraw(/** @type {Message} */ holder) {
    this.#settled.splice(this.#settled.indexOf(holder), 1);
    this.#byPosition.delete(holder.position ?? "");
    this.#characters -= holder.text.length;
    if (holder.local) this.#waiting.unshift(Object.assign(holder, { state: "pending", position: null }));
  }

  #place(/** @type {Message} */ message, /** @type {string | null} */ position, /** @type {boolean} */ older) {
    const parsed = parsePosition(position);
    Object.assign(message, {
      position: parsed ? position : null,
      epoch: parsed?.epoch ?? "",
      stamp: parsed?.stamp ?? 0,
    });
    this.#characters += message.text.length;
    if (!parsed) {
      this.#settled.push(message);
      return;
    }
    this.#byPosition.set(/** @type {string} */ (position), message);
    if (!this.#epochs.includes(parsed.epoch)) this.#epochs[older ? "unshift" : "push"](parsed.epoch);
    this.#settled.splice(this.#slot(message, older), 0, message);
  }

  /** In front of the first message that is later, so behind notices; an older page goes in front of those. */
  #slot(/** @type {Message} */ message, /** @type {boolean} */ older) {
    let slot = this.#settled.length;
    for (let index = this.#settled.length - 1; index >= 0; index -= 1) {
      const entry = this.#settled[index];
      if (entry.kind !== "message" || !entry.position) continue;
      if (!this.#isLater(entry, message)) return older ? index + 1 : slot;
      slot = index;
    }
    return older ? 0 : slot;
  }

  #isLater(/** @type {Message} */ a, /** @type {Message} */ b) {
    if (a.epoch === b.epoch) return a.stamp > b.stamp;
    return this.#epochs.indexOf(a.epoch) > this.#epochs.indexOf(b.epoch);
  }
}

/** A payload for reading: a string as it is, bytes by their number, anything else as JSON. */
export function textOf(/** @type {unknown} */ payload, /** @type {string | undefined} */ encoding) {
  if (payload instanceof Uint8Array) return `[${payload.byteLength} bytes]`;
  if (encoding === "base64" && typeof payload === "string")
    return `[${Math.floor((payload.replace(/=+$/, "").length * 3) / 4)} bytes]`;
  return typeof payload === "string" ? payload : JSON.stringify(payload ?? null);
}
