/** Owns one attempt to open a line, over whichever way carries it first, and what then comes on it. */
/** @import * as T from "./types.js" */

import { write } from "./frames.js";
import { ABNORMAL, NORMAL, UNAUTHORIZED, isTooLong } from "./socket.js";

const CONNECT_ID = 0;
const DEADLINE_MS = 10_000;
/** A way that has not opened by then gets company. */
const OPEN_MS = 2500;
/** So does one on which the connection was asked for, and nothing came back: it may let nothing through. */
const REPLY_MS = 5000;
const PING_SECONDS = 25;
const GRACE_SECONDS = 10;
const MESSAGE_BYTES = 65_536;

/** @param {number} code said by the server itself, so that another way would hear the same */
const isWord = (code) => code >= 4000 || (code >= 1011 && code <= 1013);

/**
 * From the token to the reply to `$connect`, and on until it is lost or dropped.
 *
 * Ways are opened beside each other where one is slow, but the connection is asked for on one at a time: two that had
 * asked would take it from each other.
 */
export class Dial {
  #attempt;
  /** @type {string | undefined} */
  #token;
  /** @type {Set<T.Lane>} */
  #lanes = new Set();
  /** @type {Set<T.Way>} */
  #failed = new Set();
  /** Where the connection was asked for. @type {T.Lane | undefined} */
  #chosen;
  /** Of the first way that failed. @type {T.Lost | undefined} */
  #why;
  #open = false;
  #over = false;
  /** @type {any} */
  #deadline;

  /** @param {T.Attempt} attempt */
  constructor(attempt) {
    this.#attempt = attempt;
  }

  /** What carries it; undefined until a way is open. */
  get transport() {
    return this.#chosen?.transport;
  }

  get way() {
    return this.#chosen?.way;
  }

  async start() {
    const { clock, token } = this.#attempt;
    if (this.#over) return;
    this.#deadline = clock.setTimeout(() => this.#end(late()), DEADLINE_MS);
    try {
      this.#token = (typeof token === "function" ? await token() : token) ?? undefined;
    } catch (error) {
      return this.#end(broken(error));
    }
    clock.clearTimeout(this.#deadline);
    this.#next();
  }

  /** @param {number} [code] without one the connection waits to be resumed; nothing is heard of this line afterwards */
  drop(code) {
    if (this.#over) return;
    this.#over = true;
    this.#attempt.clock.clearTimeout(this.#deadline);
    for (const lane of this.#lanes) this.#leave(lane, code);
  }

  /** Opens the best way that is left; false if there is none. */
  #next() {
    const { clock, ways, make } = this.#attempt;
    const under = new Set(Array.from(this.#lanes, ({ way }) => way));
    const way = ways.find((way) => !under.has(way) && !this.#failed.has(way));
    if (this.#over || way === undefined) return false;
    /** @type {T.Lane} */
    const lane = { way };
    this.#lanes.add(lane);
    lane.deadline = clock.setTimeout(() => this.#lost(lane, late()), DEADLINE_MS);
    try {
      const maker = make(way);
      if (typeof maker === "function") this.#make(lane, maker);
      else maker.then((maker) => this.#make(lane, maker)).catch((error) => this.#lost(lane, broken(error)));
    } catch (error) {
      this.#lost(lane, broken(error));
    }
    return true;
  }

  /** @param {T.Lane} lane @param {T.Maker} maker */
  #make(lane, maker) {
    if (!this.#lanes.has(lane)) return;
    // What it took to load it says nothing about the way.
    lane.patience = this.#attempt.clock.setTimeout(() => this.#next(), OPEN_MS);
    lane.transport = maker({
      opened: () => this.#ready(lane),
      frame: (frame) => frame && this.#hear(lane, frame),
      lost: (why) => this.#lost(lane, why, true),
    });
  }

  /** It is open, and the one on which the connection was asked for, if there is one, has had its time. @param {T.Lane} lane */
  #ready(lane) {
    const { clock, place, along } = this.#attempt;
    if (this.#chosen) this.#failed.add(this.#chosen.way);
    for (const other of this.#lanes) if (other !== lane) this.#leave(other);
    this.#chosen = lane;
    clock.clearTimeout(lane.patience);
    lane.patience = clock.setTimeout(() => this.#next(), REPLY_MS);
    const { resume, since } = place();
    lane.fresh = resume === undefined;
    const ahead = lane.fresh ? along() : [];
    lane.ahead = ahead.length > 0;
    try {
      const connect = write({ type: "$connect", id: CONNECT_ID, token: this.#token, resume, since });
      lane.transport?.send(connect, ...ahead);
    } catch (error) {
      this.#end(broken(error));
    }
  }

  /** @param {T.Lane} lane @param {T.Frame} frame */
  #hear(lane, frame) {
    if (this.#open) this.#attempt.frame(frame);
    else if (lane !== this.#chosen || frame.id !== CONNECT_ID) return;
    else if (frame.type === "$reply") this.#opened(lane, frame.payload ?? {});
    else if (frame.type === "$error") this.#refused(frame);
  }

  /** @param {T.Lane} lane @param {Record<string, any>} reply */
  #opened(lane, reply) {
    for (const other of this.#lanes) if (other !== lane) this.#leave(other);
    this.#rest(lane);
    this.#open = true;
    const silence = ((reply.ping ?? PING_SECONDS) + GRACE_SECONDS) * 1000;
    lane.transport?.watch(silence, reply.limits?.message ?? MESSAGE_BYTES);
    this.#attempt.opened(reply);
  }

  /** @param {T.Frame} frame */
  #refused({ code, message, retry }) {
    const reason = `${code}: ${message}`;
    if (code === "unauthorized") this.#end({ code: UNAUTHORIZED, reason });
    // It came so late that the server took our silence for somebody else's.
    else this.#end({ code: ABNORMAL, reason, refused: retry !== true && code !== "already_connected" });
  }

  /** @param {T.Lane} lane @param {T.Lost} why @param {boolean} [gone] there is nothing left to close */
  #lost(lane, why, gone) {
    if (!this.#lanes.has(lane)) return;
    this.#why ??= why;
    this.#failed.add(lane.way);
    this.#leave(lane, undefined, gone);
    // Another way would be no wider: next time less goes along.
    if (this.#open || isWord(why.code) || (lane.ahead && isTooLong(why.code))) this.#end(why);
    else if (!this.#next() && this.#lanes.size === 0) this.#end(this.#why);
  }

  /** @param {T.Lane} lane @param {number} [code] @param {boolean} [gone] */
  #leave(lane, code, gone) {
    const asked = lane === this.#chosen && !this.#open;
    this.#rest(lane);
    this.#lanes.delete(lane);
    // Nobody has the secret of a connection that begins there: it would stay for as long as one is waited for.
    if (!gone) lane.transport?.close(asked && lane.fresh ? NORMAL : code);
    if (lane !== this.#chosen) return;
    // What was asked for may be granted yet, when nobody waits for it any more.
    if (asked) this.#attempt.strayed();
    this.#chosen = undefined;
  }

  /** @param {T.Lane} lane */
  #rest({ deadline, patience }) {
    this.#attempt.clock.clearTimeout(deadline);
    this.#attempt.clock.clearTimeout(patience);
  }

  /** @param {T.Lost} why */
  #end(why) {
    if (this.#over) return;
    this.drop();
    this.#attempt.lost(why);
  }
}

const late = () => ({ code: ABNORMAL, reason: "no answer in time" });
/** @param {unknown} error */
const broken = (error) => ({ code: ABNORMAL, reason: String(error) });
