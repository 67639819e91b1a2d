/** Owns a WebSocket as what carries a line, when what carries one counts as dead, and when to try again. */
/** @import * as T from "./types.js" */

import { read } from "./frames.js";

/** The close code of a token that is missing, wrong or expired. */
export const UNAUTHORIZED = 4401;
/** The connection waits to be resumed: no clean end, which 1000 or no code at all would be. */
export const BACK_SOON = 4501;
/** A clean end: the connection is over at once. */
export const NORMAL = 1000;
/** A message was longer than the server takes; 4009 is what hosts say that may not say 1009. */
const TOO_LONG = 1009;
/** The line broke, and nobody said why. */
export const ABNORMAL = 1006;
const FINAL = [NORMAL, 1002, 1003, 1007, 1008, TOO_LONG];

/** @param {number} code of a close; whether a message was longer than the server takes */
export const isTooLong = (code) => code === TOO_LONG || code === 4009;

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
const PING = '{"type":"$ping"}';

/** @param {string[]} texts of commands; the message that holds them all */
export const together = (texts) => (texts.length > 1 ? `[${texts.join(",")}]` : texts[0]);

/** Notices that nothing is heard any more. */
export class Silence {
  #clock;
  #send;
  #broken;
  #heard;
  #most = 0;
  /** @type {any} */
  #timer;
  /** @type {any} */
  #probe;

  /** @param {T.Clock} clock @param {(text: string) => void} send @param {(why: T.Lost) => void} broken */
  constructor(clock, send, broken) {
    this.#clock = clock;
    this.#send = send;
    this.#broken = broken;
    this.#heard = clock.now();
  }

  heard() {
    this.#heard = this.#clock.now();
    this.#clock.clearTimeout(this.#probe);
    this.#probe = undefined;
  }

  /** @param {number} ms without a sign of life are the end */
  watch(ms) {
    this.#most = ms;
    this.#arm();
  }

  /** Asks for a sign of life. */
  probe() {
    if (this.#probe) return;
    this.#probe = this.#clock.setTimeout(() => this.#die(), PROBE_MS);
    this.#send(PING);
  }

  end() {
    this.#clock.clearTimeout(this.#timer);
    this.#clock.clearTimeout(this.#probe);
  }

  // One timer that looks back, not one that is set anew with every message.
  #arm() {
    const left = this.#heard + this.#most - this.#clock.now();
    if (left <= 0) this.#die();
    else this.#timer = this.#clock.setTimeout(() => this.#arm(), left);
  }

  #die() {
    this.#broken({ code: ABNORMAL, reason: "nothing was heard", silent: true });
  }
}

/** A WebSocket that notices when it has died. @implements {T.Transport} */
export class Socket {
  #socket;
  #silence;

  /** @param {T.WebSocketLike} socket @param {T.Clock} clock @param {T.TransportEvents} events */
  constructor(socket, clock, events) {
    this.#socket = socket;
    // The close event may take minutes on a dead network: nobody waits for it.
    this.#silence = new Silence(clock, (text) => this.send(text), (why) => {
      this.close();
      events.lost(why);
    });
    socket.onopen = events.opened;
    socket.onmessage = (/** @type {any} */ { data }) => {
      this.#silence.heard();
      if (typeof data === "string") events.frame(read(data));
    };
    socket.onclose = (/** @type {any} */ { code, reason }) => {
      this.#silent();
      events.lost({ code, reason });
    };
    // A close event follows and says more; but without any handler some implementations throw.
    socket.onerror = () => {};
  }

  /** @type {T.Transport["send"]} */
  send(...texts) {
    // What is sent on a closing socket is lost like anything that was under way.
    if (this.#socket.readyState === OPEN) this.#socket.send(together(texts));
  }

  buffered() {
    return this.#socket.bufferedAmount;
  }

  /** @type {T.Transport["watch"]} */
  watch(silenceMs) {
    this.#silence.watch(silenceMs);
  }

  probe() {
    this.#silence.probe();
  }

  /** @type {T.Transport["close"]} */
  close(code = BACK_SOON) {
    this.#silent();
    this.#socket.close(code);
  }

  #silent() {
    this.#silence.end();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = () => {};
  }
}
