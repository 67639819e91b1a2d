/** Owns what carries a line now, and the search for something better while it does. */
/** @import * as T from "./types.js" */

import { Dial } from "./dial.js";
import { BACK_SOON } from "./socket.js";
import { Ways, makerOf } from "./ways.js";

/** The connection goes on elsewhere. */
const REPLACED = 4409;
/** So long an attempt that was given up may still take the connection from the one that followed. */
const STRAY_MS = 60_000;

export class Carrier {
  #url;
  #options;
  #clock;
  #document;
  #line;
  #ways;
  /** @type {Dial | undefined} */
  #dial;
  /** An attempt to go a better way, beside the line that works. @type {Dial | undefined} */
  #climb;
  /** Until the next one; undefined while it is due, or none is needed. @type {any} */
  #timer;
  /** When an attempt that had asked for the connection was given up. */
  #strayed = -Infinity;
  #open = false;

  /** @param {string} url @param {T.Options} options @param {T.Clock} clock @param {T.Page} page @param {T.Carried} line */
  constructor(url, options, clock, page, line) {
    this.#url = url;
    this.#options = options;
    this.#clock = clock;
    this.#document = page.document;
    this.#line = line;
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    // Only pages remember: what Node calls by that name warns whoever looks at it.
    this.#ways = new Ways(clock, url.split("?")[0], page.document && page.window, options.transports, !WebSocket);
  }

  /** What carries the line; undefined until a way is open. */
  get transport() {
    return this.#dial?.transport;
  }

  get way() {
    return this.#dial?.way;
  }

  connect() {
    this.drop();
    this.#dial = this.#dialOver(this.#ways.order());
    this.#dial.start();
  }

  /** @param {number} [code] without one the connection waits to be resumed; nothing is heard of this line afterwards */
  drop(code) {
    this.#open = false;
    this.#dropClimb();
    this.#dial?.drop(code);
    this.#dial = undefined;
  }

  /** The network is another one. */
  renewed() {
    this.#ways.renewed();
  }

  /** Does not trust a line that says nothing. @param {boolean} anew the network is another one */
  hurry(anew) {
    this.transport?.probe();
    if (anew || this.#timer === undefined) this.#climbNow();
  }

  /** @param {T.Way[]} ways */
  #dialOver(ways) {
    const { token, WebSocket = globalThis.WebSocket, fetch } = this.#options;
    /** @type {Dial} */
    const dial = new Dial({
      ways,
      make: (way) => makerOf(way, this.#url, this.#clock, WebSocket, fetch),
      clock: this.#clock,
      token,
      place: this.#line.place,
      along: this.#line.along,
      opened: (reply) => this.#opened(dial, reply),
      frame: this.#line.frame,
      strayed: () => (this.#strayed = this.#clock.now()),
      lost: (why) => (dial === this.#climb ? this.#stayed() : this.#lost(why)),
    });
    return dial;
  }

  /** @param {Dial} dial @param {Record<string, any>} reply */
  #opened(dial, reply) {
    if (dial === this.#climb) {
      this.#climb = undefined;
      this.#dial?.drop();
      this.#dial = dial;
    }
    this.#open = true;
    if (dial.way) this.#ways.opened(dial.way);
    this.#climbLater();
    this.#line.opened(reply);
  }

  /** @param {T.Lost} why */
  #lost(why) {
    this.#dial = undefined;
    if (this.#open && why.silent) this.#ways.hushed();
    this.#open = false;
    if (this.#climb?.transport) {
      // It has asked for the connection, and may have it: another attempt would take it away again.
      this.#dial = this.#climb;
      this.#climb = undefined;
      this.#line.goesOn(why.code === REPLACED);
      return;
    }
    this.#dropClimb();
    const astray = why.code === REPLACED && this.#clock.now() - this.#strayed < STRAY_MS;
    this.#line.lost(astray ? { ...why, code: BACK_SOON } : why);
  }

  /** Tries a better way if there is one, beside the line that works; a page that nobody sees does so later. */
  #climbNow() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    const ways = this.#ways.better();
    if (!this.#open || this.#climb || ways.length === 0 || this.#document?.hidden) return;
    this.#climb = this.#dialOver(ways);
    this.#climb.start();
  }

  #climbLater() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#ways.isBest) this.#timer = this.#clock.setTimeout(() => this.#climbNow(), this.#ways.climbIn());
  }

  #stayed() {
    this.#climb = undefined;
    this.#ways.stayed();
    this.#climbLater();
  }

  #dropClimb() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#climb?.drop();
    this.#climb = undefined;
  }
}
