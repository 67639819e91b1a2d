/** Owns lines over plain HTTP (section 7.4): the server speaks in an event stream or in answers to polls, we in POSTs. */
/** @import * as T from "./types.js" */

import { read, sizeOf } from "./frames.js";
import { ABNORMAL, NORMAL, Silence, together } from "./socket.js";
import { inTime } from "./surroundings.js";

const RESTART = 1012;
const BUSY = 1013;
const POST_MS = 20_000;
const MESSAGE_BYTES = 65_536;
/** The server takes so many commands in one message. */
const MOST_AT_ONCE = 1000;
/** An empty answer to a poll that comes at once may come from somebody who would say so for ever. */
const REST_MS = 250;
const RETRY_MS = 500;
const MOST_FAILURES = 3;
/** What is asked for at most: a longer word may come from anybody on the way, or be more than a timer can take. */
const MOST_WAIT_MS = 60_000;

/** The part that both kinds share: what we say, the end, and what is heard. @implements {T.Transport} */
class Http {
  #clock;
  #events;
  #fetch;
  #silence;
  #url;
  /** Where other sites' cookies do not count, asking with them fails as a whole. @type {RequestCredentials} */
  #credentials;
  #requests = new AbortController();
  /** @type {string | undefined} */
  #token;
  /** What waits to be posted, in order. @type {string[]} */
  #queue = [];
  #queued = 0;
  #posting = false;
  #limit = MESSAGE_BYTES;
  /** Of what rests: a request that is posted, and the next poll. @type {Set<any>} */
  #timers = new Set();
  over = false;

  /** @param {string} url @param {T.Clock} clock @param {T.TransportEvents} events @param {T.Options["fetch"]} fetch */
  constructor(url, clock, events, fetch = globalThis.fetch) {
    this.#url = new URL(url.replace(/^ws/, "http"));
    this.#clock = clock;
    this.#events = events;
    this.#fetch = fetch;
    this.#credentials = this.#url.origin === globalThis.location?.origin ? "same-origin" : "include";
    this.#silence = new Silence(clock, (text) => this.send(text), (why) => this.lose(why));
  }

  /** @type {T.Transport["send"]} */
  send(...texts) {
    this.#queue.push(...texts);
    for (const text of texts) this.#queued += text.length;
    if (this.#posting) return;
    this.#posting = true;
    // What is said in one turn goes in one request.
    queueMicrotask(() => this.#post().catch((error) => this.lose(broken(error))));
  }

  buffered() {
    return this.#queued;
  }

  /** @type {T.Transport["watch"]} */
  watch(silenceMs, limit) {
    this.#limit = limit;
    this.#silence.watch(silenceMs);
  }

  probe() {
    this.#silence.probe();
  }

  /** @type {T.Transport["close"]} */
  close(code) {
    if (this.over) return;
    this.#end();
    const abort = () => this.#requests.abort();
    // A stream that ended ahead of the goodbye would be a line that broke. It arrives even if the page goes.
    if (code !== NORMAL || !this.#token) return abort();
    inTime(this.#clock, this.ask("DELETE", "", { keepalive: true }), POST_MS).then(abort, abort);
  }

  /** @param {T.Lost} why */
  lose(why) {
    if (this.over) return;
    this.#end();
    this.#requests.abort();
    this.#events.lost(why);
  }

  #end() {
    this.over = true;
    this.#queue = [];
    this.#silence.end();
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
  }

  heard() {
    this.#silence.heard();
  }

  /** @param {T.Frame | undefined} frame that came down */
  hear(frame) {
    if (this.over || !frame) return;
    if (frame.type === "$closed") this.lose({ code: ABNORMAL, reason: "", ...frame.payload });
    else if (frame.type !== "$line") this.#events.frame(frame);
    else {
      this.#token = frame.token;
      this.#events.opened();
    }
  }

  /** Asks anew, once, without what belongs to this user at that site. @param {string} path @returns {Promise<Response>} */
  async open(path) {
    try {
      return await this.ask("GET", path);
    } catch (error) {
      if (this.over || this.#credentials !== "include") throw error;
      this.#credentials = "omit";
      return this.ask("GET", path);
    }
  }

  /** @param {string} method @param {string} path @param {RequestInit & {query?: string}} [more] @returns {Promise<Response>} */
  ask(method, path, { query = "", ...more } = {}) {
    const url = new URL(this.#url);
    url.pathname += path;
    url.search = [url.search.slice(1), query].filter(Boolean).join("&");
    /** @type {Record<string, string>} */
    const headers = this.#token ? { "openline-line": this.#token } : {};
    if (more.body) headers["content-type"] = "application/json";
    const { signal } = this.#requests;
    // Called as a plain function: a method of something else would be an illegal invocation.
    const fetch = this.#fetch;
    return fetch(url.href, { method, headers, signal, cache: "no-store", credentials: this.#credentials, ...more });
  }

  /** @param {number} ms */
  pause(ms) {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimeout(() => resolve(this.#timers.delete(timer)), ms);
      this.#timers.add(timer);
    });
  }

  /** One request at a time, because their order is the order of the commands. */
  async #post() {
    while (this.#queue.length > 0 && !this.over) {
      const count = this.#fitting();
      const texts = this.#queue.slice(0, count);
      const body = together(texts);
      const response = await inTime(this.#clock, this.ask("POST", "", { body }), POST_MS);
      if (this.over) return;
      if (response.status === 413 && count > 1) this.#limit = sizeOf(body) / 2;
      else if (response.status === 429) await this.pause(waitOf(response));
      else if (response.status === 413) this.#turnDown(texts[0]);
      else if (!response.ok) return this.lose(await whyOf(response));
      if (response.ok || (response.status === 413 && count === 1)) this.#done(count);
    }
    this.#posting = false;
  }

  /** How many of those that wait go into one request. */
  #fitting() {
    let count = 0;
    let bytes = 2;
    for (const text of this.#queue) {
      bytes += sizeOf(text) + 1;
      if (bytes > this.#limit || count === MOST_AT_ONCE) break;
      count += 1;
    }
    return Math.max(count, 1);
  }

  /** @param {number} count that have arrived */
  #done(count) {
    for (const text of this.#queue.splice(0, count)) this.#queued -= text.length;
  }

  /** Somebody on the way takes nothing so long. @param {string} text */
  #turnDown(text) {
    const id = read(text)?.id;
    const frame = { type: "$error", id, code: "too_large", message: "it does not fit through this network" };
    if (id !== undefined) this.#events.frame(frame);
  }
}

/** A line whose downstream is an event stream. */
export class Stream extends Http {
  /** @param {ConstructorParameters<typeof Http>} parts */
  constructor(...parts) {
    super(...parts);
    // Not EventSource: it tells no status, opens another line by itself, and cannot be stopped from doing so.
    this.#listen().catch((error) => this.lose(broken(error)));
  }

  async #listen() {
    const response = await this.open("/events");
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    const reader = response.ok && isStream ? response.body?.getReader() : undefined;
    if (!reader) return this.lose(await whyOf(response));
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return this.lose({ code: ABNORMAL, reason: "the stream ended" });
      this.heard();
      const blocks = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) this.hear(read(dataOf(block)));
    }
  }
}

/** A line whose downstream are answers to polls. */
export class Poll extends Http {
  /** The number of the last answer that came. */
  #batch = 0;

  /** @param {ConstructorParameters<typeof Http>} parts */
  constructor(...parts) {
    super(...parts);
    this.#listen().catch((error) => this.lose(broken(error)));
  }

  async #listen() {
    for (let failures = 0; !this.over; ) {
      try {
        const response = await this.#poll();
        if (!response.ok && (!passes(response) || failures >= MOST_FAILURES)) return this.lose(await whyOf(response));
        if (response.ok) {
          if (!(await this.#take(response))) await this.pause(REST_MS);
          failures = 0;
          continue;
        }
      } catch (error) {
        if (this.#batch === 0 || failures >= MOST_FAILURES) throw error;
      }
      // An answer that was lost is given again.
      if (!this.over) await this.pause(RETRY_MS * 2 ** failures++);
    }
  }

  #poll() {
    return this.#batch ? this.ask("GET", "/poll", { query: `after=${this.#batch}` }) : this.open("/poll");
  }

  /** @param {Response} response @returns {Promise<boolean>} whether it said something */
  async #take(response) {
    /** @type {T.Frame[]} */
    const frames = await response.json();
    const batch = Number(response.headers.get("openline-batch"));
    if (!Array.isArray(frames) || !(batch >= this.#batch)) throw new TypeError("this is no answer to a poll");
    this.heard();
    // What somebody on the way has kept of an earlier answer came already.
    if (batch === this.#batch) return false;
    this.#batch = batch;
    for (const frame of frames) this.hear(frame);
    return true;
  }
}

/** @param {Response} response a failure; whether the same may succeed soon */
const passes = ({ status }) => status === 408 || status === 429 || status >= 500;

/**
 * Why there is no line. Only the server itself speaks in problems; anybody on the way may give a status.
 *
 * @param {Response} response @returns {Promise<T.Lost>}
 */
async function whyOf(response) {
  const isProblem = response.headers.get("content-type")?.startsWith("application/problem+json");
  const { code, detail } = isProblem ? await response.json() : {};
  const known = { too_many: BUSY, unavailable: RESTART };
  const reason = detail ?? `${response.status} ${response.statusText}`;
  return { code: known[/** @type {keyof known} */ (code)] ?? ABNORMAL, reason, after: waitOf(response) };
}

/** @param {string} block of an event stream @returns {string} */
const dataOf = (block) =>
  block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");

/** @param {Response} response @returns {number} milliseconds to wait at least */
const waitOf = (response) => Math.min((Number(response.headers.get("retry-after")) || 1) * 1000, MOST_WAIT_MS);

/** @param {unknown} error */
const broken = (error) => ({ code: ABNORMAL, reason: String(error) });
