/** Owns which ways a line may go, in which order they are tried, and when to look for a better one. */
/** @import * as T from "./types.js" */

import { Socket } from "./socket.js";

/** The best first. @type {readonly T.Way[]} */
const WAYS = ["websocket", "stream", "poll"];
/** How long a page believes what an earlier one found out about the network. */
const KNOWN_MS = 1_800_000;
/** How long a way is left alone that was open and let nothing through. */
const SHUNNED_MS = 300_000;
const CLIMB_MS = 15_000;
const LONGEST_MS = 600_000;
/** Who knows that the better one did not work just now looks for it later. */
const KNOWN_CLIMBS = 2;

export class Ways {
  #all;
  #clock;
  #memory;
  #place;
  /** The one that carried the line last, or on an earlier page. @type {T.Way | undefined} */
  #last;
  /** It did so a moment ago: that it fails once does not mean that it is blocked. */
  #proven = false;
  #climbs = 0;
  /** Until when. @type {Map<T.Way, number>} */
  #shunned = new Map();

  /**
   * @param {T.Clock} clock @param {string} place of the server @param {any} window whose storage remembers
   * @param {readonly T.Way[] | undefined} wanted @param {boolean} socketless there is no WebSocket here
   */
  constructor(clock, place, window, wanted = WAYS, socketless) {
    if (!Array.isArray(wanted) || !wanted.length || wanted.some((way) => !WAYS.includes(way))) {
      throw new TypeError(`transports are a list of ${WAYS.join(", ")}`);
    }
    this.#all = [...new Set(wanted)].filter((way) => !socketless || way !== "websocket");
    if (this.#all.length === 0) throw new TypeError("there is no WebSocket here: give one in the options");
    this.#clock = clock;
    this.#place = `openline ${place}`;
    this.#memory = memoryOf(window);
    this.#last = this.#recall();
    if (this.#last) this.#climbs = KNOWN_CLIMBS;
  }

  /** @returns {T.Way[]} for the next attempt */
  order() {
    const last = this.#last;
    if (last && this.#proven) {
      this.#proven = false;
      return [last];
    }
    const rank = (/** @type {T.Way} */ way) => (this.#isShunned(way) ? 2 : way === last ? 0 : 1);
    return [...this.#all].sort((one, other) => rank(one) - rank(other));
  }

  /** Whether the line goes the best way there is. */
  get isBest() {
    return this.#last === this.#all[0];
  }

  /** @returns {T.Way[]} than the one that carries the line */
  better() {
    const above = this.#last ? this.#all.slice(0, this.#all.indexOf(this.#last)) : [];
    return above.filter((way) => !this.#isShunned(way));
  }

  /** @param {T.Way} way that the line is open on */
  opened(way) {
    this.#last = way;
    if (this.isBest) this.#climbs = 0;
    this.#proven = true;
    this.#remember();
  }

  /** What carried the line said nothing any more. */
  hushed() {
    // A stream may be held back on its way while requests still pass.
    if (this.#last !== "stream") return;
    this.#shunned.set(this.#last, this.#clock.now() + SHUNNED_MS);
    this.#proven = false;
    this.#last = undefined;
  }

  /** The network is another one. */
  renewed() {
    this.#proven = false;
    this.#climbs = 0;
    this.#shunned.clear();
  }

  /** Milliseconds until a better way is looked for again. */
  climbIn() {
    const most = Math.min(LONGEST_MS, CLIMB_MS * 2 ** this.#climbs);
    return most * (0.5 + this.#clock.random() / 2);
  }

  /** A better way was looked for in vain. */
  stayed() {
    this.#climbs += 1;
    this.#remember();
  }

  /** @param {T.Way} way */
  #isShunned(way) {
    return (this.#shunned.get(way) ?? 0) > this.#clock.now();
  }

  #recall() {
    const [way, at] = this.#memory((storage) => storage.getItem(this.#place))?.split(" ") ?? [];
    const age = this.#clock.now() - Number(at);
    return age >= 0 && age < KNOWN_MS ? this.#all.find((known) => known === way) : undefined;
  }

  /** Only what is not to be expected: where the best way works, nothing is kept. */
  #remember() {
    const word = this.#last === this.#all[0] ? undefined : `${this.#last} ${this.#clock.now()}`;
    if (word) this.#memory((storage) => storage.setItem(this.#place, word));
    else this.#memory((storage) => storage.removeItem(this.#place));
  }
}

/** @param {any} window @returns {(use: (storage: Storage) => any) => any} undefined where there is none, or where it is forbidden */
function memoryOf(window) {
  return (use) => {
    try {
      return use(window.localStorage);
    } catch {
      return undefined;
    }
  };
}

/**
 * @param {T.Way} way @param {string} url @param {T.Clock} clock @param {any} WebSocket
 * @param {T.Options["fetch"]} fetch
 * @returns {T.Maker | Promise<T.Maker>} what opens it
 */
export function makerOf(way, url, clock, WebSocket, fetch) {
  if (way === "websocket") {
    return (events) => new Socket(new WebSocket(url), clock, events);
  }
  // Who does not need it does not load it.
  return import("./http.js").then(({ Poll, Stream }) => {
    const Kind = way === "stream" ? Stream : Poll;
    return (events) => new Kind(url, clock, events, fetch);
  });
}
