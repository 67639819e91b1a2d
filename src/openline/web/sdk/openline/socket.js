/** Owns one attempt to open a line, what then comes on it, when it counts as dead, and when to try again. */
/** @import * as T from "./types.js" */

import { read, write } from "./frames.js";

/** The close code of a token that is missing, wrong or expired. */
export const UNAUTHORIZED = 4401;
/** The connection waits to be resumed: no clean end, which 1000 or no code at all would be. */
export const BACK_SOON = 4501;
const ABNORMAL = 1006;
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009];

/** @param {number} code of a close; whether to come back (section 5 of the protocol) */
export const comesBack = (code) => !FINAL.includes(code) && !(code >= 4000 && code <= 4499);

/**
 * Milliseconds before the next try. All of it is chance, so that a crowd comes back spread out.
 *
 * @param {number} tries that failed @param {() => number} random
 */
export const delay = (tries, random) => random() * Math.min(20_000, 500 * 2 ** tries);

const OPEN = 1;
const PROBE_MS = 10_000;

/** A WebSocket that notices when it has died. @implements {T.Transport} */
export class Socket {
  #clock;
  #events;
  #socket;
  #heard;
  #silence = 0;
  /** @type {any} */
  #timer;
  /** @type {any} */
  #probe;

  /** @param {T.WebSocketLike} socket @param {T.Clock} clock @param {T.TransportEvents} events */
  constructor(socket, clock, events) {
    this.#clock = clock;
    this.#events = events;
    this.#heard = clock.now();
    this.#socket = socket;
    socket.onopen = events.opened;
    socket.onmessage = (/** @type {any} */ { data }) => this.#hear(data);
    socket.onclose = (/** @type {any} */ { code, reason }) => {
      this.#silent();
      events.lost({ code, reason });
    };
    // A close event follows and says more; but without any handler some implementations throw.
    socket.onerror = () => {};
  }

  /** @type {T.Transport["send"]} */
  send(text) {
    // What is sent on a closing socket is lost like anything that was under way.
    if (this.#socket.readyState === OPEN) this.#socket.send(text);
  }

  buffered() {
    return this.#socket.bufferedAmount;
  }

  /** @type {T.Transport["watch"]} */
  watch(silenceMs) {
    this.#silence = silenceMs;
    this.#arm();
  }

  probe() {
    if (this.#probe) return;
    this.#probe = this.#clock.setTimeout(() => this.#die(), PROBE_MS);
    this.send('{"type":"$ping"}');
  }

  /** @type {T.Transport["close"]} */
  close(code = BACK_SOON) {
    this.#silent();
    this.#socket.close(code);
  }

  /** @param {unknown} data */
  #hear(data) {
    this.#heard = this.#clock.now();
    this.#clock.clearTimeout(this.#probe);
    this.#probe = undefined;
    if (typeof data === "string") this.#events.text(data);
  }

  // One timer that looks back, not one that is set anew with every message.
  #arm() {
    const left = this.#heard + this.#silence - this.#clock.now();
    if (left <= 0) this.#die();
    else this.#timer = this.#clock.setTimeout(() => this.#arm(), left);
  }

  // The close event may take minutes on a dead network: nobody waits for it.
  #die() {
    this.close();
    this.#events.lost({ code: ABNORMAL, reason: "nothing was heard" });
  }

  #silent() {
    this.#clock.clearTimeout(this.#timer);
    this.#clock.clearTimeout(this.#probe);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = () => {};
  }
}

const CONNECT_ID = 0;
const DEADLINE_MS = 10_000;
const PING_SECONDS = 25;
const GRACE_SECONDS = 10;

/** From the token to the reply to `$connect`, and on until it is lost or dropped. */
export class Dial {
  #attempt;
  /** @type {T.Transport | undefined} */
  transport;
  #open = false;
  #over = false;
  /** @type {any} */
  #deadline;

  /** @param {T.Attempt} attempt */
  constructor(attempt) {
    this.#attempt = attempt;
  }

  async start() {
    const { clock, token } = this.#attempt;
    if (this.#over) return;
    this.#deadline = clock.setTimeout(() => this.#fail("no answer in time"), DEADLINE_MS);
    try {
      this.#connect(typeof token === "function" ? await token() : token);
    } catch (error) {
      this.#fail(String(error));
    }
  }

  /** @param {number} [code] without one the connection waits to be resumed; nothing is heard of this line afterwards */
  drop(code) {
    if (this.#finish()) this.transport?.close(code);
  }

  /** @param {string | undefined} token */
  #connect(token) {
    if (this.#over) return;
    const { resume, since, open } = this.#attempt;
    const hello = write({ type: "$connect", id: CONNECT_ID, token: token ?? undefined, resume, since });
    this.transport = open({
      opened: () => this.transport?.send(hello),
      text: (text) => this.#hear(read(text)),
      lost: (why) => this.#end(why),
    });
  }

  /** @param {T.Frame | undefined} frame */
  #hear(frame) {
    if (frame && this.#open) this.#attempt.frame(frame);
    else if (frame?.id !== CONNECT_ID) return;
    else if (frame.type === "$reply") this.#opened(frame.payload ?? {});
    else if (frame.type === "$error") this.#refused(frame);
  }

  /** @param {Record<string, any>} reply */
  #opened(reply) {
    this.#attempt.clock.clearTimeout(this.#deadline);
    this.#open = true;
    this.transport?.watch(((reply.ping ?? PING_SECONDS) + GRACE_SECONDS) * 1000);
    this.#attempt.opened(reply);
  }

  /** @param {T.Frame} frame */
  #refused({ code, message, retry }) {
    const unauthorized = code === "unauthorized";
    this.#fail(`${code}: ${message}`, unauthorized ? { code: UNAUTHORIZED } : { refused: retry !== true });
  }

  /** @param {string} reason @param {Partial<T.Lost>} [more] */
  #fail(reason, more) {
    this.transport?.close();
    this.#end({ code: ABNORMAL, reason, ...more });
  }

  /** @param {T.Lost} why */
  #end(why) {
    if (this.#finish()) this.#attempt.lost(why);
  }

  /** False if it was over before. */
  #finish() {
    this.#attempt.clock.clearTimeout(this.#deadline);
    const first = !this.#over;
    this.#over = true;
    return first;
  }
}
