/** Owns a line: one connection to a server that outlives its sockets. */
/** @import * as T from "./types.js" */

import { Carrier } from "./carrier.js";
import { Channel } from "./channel.js";
import { OpenlineError, covers, errorOf, eventOf, nameOf, sameEpoch, sizeOf, unwrap, wrap, write } from "./frames.js";
import { Outbox } from "./outbox.js";
import { Emitter, guarded, report, systemClock, watchPage } from "./surroundings.js";
import { BACK_SOON, UNAUTHORIZED, comesBack, delay, isTooLong } from "./socket.js";

const ASK_MS = 10_000;
/** The server said that it is too busy: as if so many tries had failed already. */
const BUSY = 1013;
const STEADY_MS = 5_000;
const BUSY_TRIES = 3;

/** @implements {T.Line} */
export class Line {
  /** @type {T.Status} */
  status = "connecting";
  /** @type {string | null} */
  connection = null;
  /** @type {string | null} */
  user = null;

  #url;
  #options;
  #clock;
  #events = new Emitter();
  #outbox;
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** What was asked for along with `$connect`. @type {{channel: string}[]} */
  #ahead = [];
  /** So many bytes of it, as long as nobody knows how much the server takes at once. */
  #most = 8192;
  /** Channels whose `$unsubscribe` was not answered yet. @type {Set<string>} */
  #leaving = new Set();
  /** @type {Map<string, (payload: any) => unknown>} */
  #answers = new Map();
  #carrier;
  /** What was told last. @type {T.Way | undefined} */
  #way;
  /** @type {any} */
  #timer;
  #tries = 0;
  #openedAt = Infinity;
  #unauthorized = false;
  /** How long the server said that it will be away. */
  #away = 0;
  #paused = false;
  #ended = new AbortController();
  /** The secret that takes the connection up again. @type {string | undefined} */
  #resume;
  /** The last one seen. @type {string | undefined} */
  #position;
  /** The last one seen on the line before: that line may have gone on while this one took over. @type {string | undefined} */
  #past;

  /** @param {string} url @param {T.Options} options */
  constructor(url, options) {
    this.#url = url;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const page = options.page ?? { window: globalThis, document: globalThis.document };
    this.#outbox = new Outbox(this.#clock, options.outbox, (word, payload) => this.#told(word, payload));
    this.#carrier = new Carrier(url, options, this.#clock, page, {
      place: () => ({ resume: this.#resume, since: this.#resume && this.#position }),
      along: () => this.#goesAlong(),
      opened: (reply) => guarded(() => this.#opened(reply)),
      frame: (frame) => guarded(() => this.#frame(frame)),
      goesOn: (quietly) => this.#goesOn(quietly),
      lost: (why) => this.#lost(why),
    });
    if (options.outbox?.persist !== undefined) this.#persist(page.window, options.outbox.persist);
    const events = {
      online: () => this.#hurry(true),
      visible: () => this.#hurry(false),
      aside: () => this.#pause(),
      back: () => this.#goOn(),
      gone: () => this.#gone(),
    };
    watchPage(page, events, this.#ended.signal);
    this.#connect();
  }

  /** What carries it now; null while nothing does. */
  get transport() {
    return (this.status === "open" && this.#carrier.way) || null;
  }

  /** @param {string} type @param {(payload: any, event: any) => unknown} handler */
  on(type, handler) {
    return this.#events.on(type, handler);
  }

  /** @type {T.Line["emit"]} */
  async emit(type, payload) {
    return this.#outbox.submit("event", { type: nameOf(type), ...wrap(payload) });
  }

  /** @type {T.Line["ask"]} */
  async ask(type, payload, { timeout = ASK_MS } = {}) {
    return this.#outbox.submit("event", { type: nameOf(type), ...wrap(payload) }, timeout);
  }

  /** @type {T.Line["answer"]} */
  answer(type, handler) {
    if (this.#answers.has(type)) throw new TypeError(`${type} is answered already`);
    this.#answers.set(type, handler);
    return () => {
      if (this.#answers.get(type) === handler) this.#answers.delete(type);
    };
  }

  /** @type {T.Line["subscribe"]} */
  subscribe(name, options = {}) {
    const known = this.#channels.get(name);
    if (known) return known;
    const channel = new Channel(name, options, {
      clock: this.#clock,
      outbox: this.#outbox,
      ended: () => this.#forget(channel),
      left: () => this.#left(channel),
    });
    if (this.status === "closed") channel.end(closed());
    else this.#channels.set(name, channel);
    channel.join();
    const restored = this.#outbox.restored(name);
    // Who subscribes has its handlers in place by then.
    queueMicrotask(() => restored.forEach((publication) => channel.restored(publication)));
    return channel;
  }

  close() {
    this.#carrier.drop(1000);
    this.#end({ code: 1000, reason: "" });
  }

  /** @param {any} window @param {string} user whose messages these are */
  #persist(window, user) {
    if (typeof user !== "string" || !user) throw new TypeError("outbox.persist is the id of a user");
    // What stands behind the path may be a secret, and another one tomorrow.
    const place = JSON.stringify([this.#url.split("?")[0], user]);
    // Who does not want it does not load it.
    this.#outbox.persist(async (guest) => new (await import("./stay.js")).Stay(this.#clock, window, place, guest));
  }

  /** The page was put aside, and may come back: so may the connection. An open line keeps pages out of some caches. */
  #pause() {
    if (this.#paused) return;
    this.#paused = true;
    this.#outbox.pause();
    this.#clock.clearTimeout(this.#timer);
    this.#carrier.drop();
    this.#hangUp();
    this.#become("waiting", { code: BACK_SOON, reason: "the page was put aside" });
  }

  #goOn() {
    if (!this.#paused) return;
    this.#paused = false;
    this.#tries = 0;
    this.#carrier.renewed();
    this.#outbox.goOn();
    this.#connect();
  }

  #gone() {
    this.#outbox.leave();
    this.close();
  }

  #connect() {
    this.#clock.clearTimeout(this.#timer);
    this.#become("connecting");
    // A handler of that may have closed the line.
    if (this.status === "connecting") this.#carrier.connect();
  }

  /**
   * Does not wait out the delay, and does not trust a line that says nothing.
   *
   * @param {boolean} anew the network is another one: an attempt that is under way may hang on the one before
   */
  #hurry(anew) {
    if (this.#paused) return;
    this.#outbox.look();
    if (anew) this.#tries = 0;
    if (anew) this.#carrier.renewed();
    if (this.status === "open") this.#carrier.hurry(anew);
    else if (anew || this.status === "waiting") this.#connect();
  }

  /** What is said along with a `$connect` that resumes nothing; what went along with another is nobody's. */
  #goesAlong() {
    this.#hangUp();
    const texts = [];
    for (const channel of this.#channels.values()) {
      const text = channel.ahead(this.#position, this.#most - sizeOf(texts.join()));
      if (text === undefined) break;
      texts.push(text);
      this.#ahead.push({ channel: channel.name });
    }
    return texts;
  }

  /** @param {Record<string, any>} reply */
  #opened({ connection, user, resume, position, resumed = false, recovered, subscriptions = [], limits }) {
    // It goes another way now: nobody has to know.
    const moved = this.status === "open" && resumed;
    if (this.status === "open") this.#hangUp();
    const seen = this.#position;
    const restarted = seen !== undefined && !sameEpoch(seen, position);
    this.#openedAt = this.#clock.now();
    this.#unauthorized = false;
    this.connection = connection;
    this.user = user ?? null;
    this.#resume = resume;
    this.#past = resumed ? seen : undefined;
    // Where it was asked for, and where the line before has come to by now.
    this.#position = covers(this.#past, position) ? seen : position;
    this.status = "open";
    this.#outbox.carry(this.#carrier.transport);
    const gaps = this.#rejoin(resumed ? subscriptions : this.#ahead, seen);
    this.#ahead = [];
    if (limits?.message) this.#most = Math.min(8192, limits.message / 2);
    this.#outbox.opened(this.user, resumed, limits?.message);
    if (!moved) this.#become("open", { resumed, restarted });
    this.#carried();
    if (resumed && recovered === false) this.#events.emit("$gap", { position });
    for (const channel of gaps) channel.gap(position);
  }

  #carried() {
    const { transport } = this;
    if (!transport || transport === this.#way) return;
    this.#way = transport;
    this.#events.emit("$transport", { transport });
  }

  /** The line broke while another took over. @param {boolean} quietly that was its reason */
  #goesOn(quietly) {
    this.#hangUp();
    if (!quietly) this.#become("connecting");
  }

  /**
   * Makes the server's subscriptions ours again; returns those that have lost something.
   *
   * @param {{channel: string, recovered?: boolean}[]} kept
   * @param {string | undefined} seen the last position of the connection before
   */
  #rejoin(kept, seen) {
    const recovered = new Map(kept.map((entry) => [entry.channel, entry.recovered]));
    for (const name of this.#leaving) {
      if (recovered.has(name) && !this.#channels.has(name)) this.#leave(name);
      else this.#leaving.delete(name);
    }
    const gaps = [];
    for (const channel of [...this.#channels.values()]) {
      if (channel.asked) continue;
      const whole = channel.live ? recovered.get(channel.name) : undefined;
      if (whole === undefined) channel.rejoin(seen);
      else channel.carryOn();
      if (whole === false) gaps.push(channel);
    }
    return gaps;
  }

  /** @param {T.Lost} why */
  #lost({ code, reason, refused, after }) {
    // Then the server takes less at once than it does by default.
    const less = isTooLong(code) && this.#ahead.length > 0;
    if (less) this.#most = 0;
    this.#hangUp();
    const again = refused ? this.#resume !== undefined : less || comesBack(code);
    if (refused) this.#resume = undefined;
    if (code === UNAUTHORIZED && typeof this.#options.token === "function" && !this.#unauthorized) {
      this.#unauthorized = true;
      this.#connect();
    } else if (again) this.#wait(code, reason, after);
    else this.#end({ code, reason });
  }

  /** @param {number} code @param {string} reason @param {number} [after] milliseconds that the server asks for */
  #wait(code, reason, after = 0) {
    // A line that breaks as soon as it is open is no success: its cause may come again at once.
    if (this.#clock.now() - this.#openedAt >= STEADY_MS) this.#tries = 0;
    this.#openedAt = Infinity;
    if (code === BUSY) this.#tries = Math.max(this.#tries, BUSY_TRIES);
    const retryIn = Math.max(after, this.#away) + delay(this.#tries++, this.#clock.random);
    this.#away = 0;
    this.#timer = this.#clock.setTimeout(() => this.#connect(), retryIn);
    this.#become("waiting", { retryIn, code, reason });
  }

  /** @param {T.Lost} why */
  #end(why) {
    if (this.status === "closed") return;
    this.status = "closed";
    this.#clock.clearTimeout(this.#timer);
    this.#ended.abort();
    this.#hangUp();
    const error = closed(why.reason);
    for (const channel of this.#channels.values()) channel.end(error);
    this.#channels.clear();
    this.#outbox.close(error);
    this.#become("closed", why);
  }

  /** No answer will come on this line. */
  #hangUp() {
    this.#outbox.lost();
    this.#ahead = [];
    for (const channel of this.#channels.values()) channel.lost();
  }

  /** @param {T.Status} status @param {object} [details] */
  #become(status, details) {
    this.status = status;
    this.#events.emit("$status", { status, ...details });
  }

  /** @param {string} word of the outbox @param {any} payload */
  #told(word, payload) {
    if (word === "$restored") this.#channels.get(payload.channel)?.restored(payload);
    else this.#events.emit(word, payload);
  }

  /** @param {T.Frame} frame */
  #frame(frame) {
    const { type, id, channel, position } = frame;
    if (type === "$reply" || type === "$error") return this.#answered(frame);
    if (type === "$ping") return this.#outbox.tell('{"type":"$pong"}');
    if (position !== undefined && covers(this.#past, position)) return undefined;
    this.#position = position ?? this.#position;
    if (channel !== undefined) return this.#pushed(frame);
    // What was sent to this connection, its user or everybody was lost.
    if (type === "$gap") return this.#events.emit(type, frame.payload ?? {});
    if (type === "$away") return void (this.#away = 1000 * Math.min(Math.max(frame.payload?.retry, 0) || 0, 60));
    if (type.startsWith("$")) return undefined;
    if (id !== undefined) return this.#asked(frame);
    const event = eventOf(frame);
    return this.#events.emit(type, event.payload, event);
  }

  /** @param {T.Frame} frame */
  #answered(frame) {
    if (!this.#outbox.answered(frame) && frame.type === "$error") this.#events.emit("$error", errorOf(frame));
  }

  /** @param {T.Frame} frame */
  #pushed(frame) {
    const { type, channel, payload } = frame;
    this.#channels.get(channel)?.push(frame);
    if (type === "$subscribed" || type === "$unsubscribed") this.#events.emit(type, { ...payload, channel });
  }

  /** @param {T.Frame} frame */
  async #asked(frame) {
    const { connection } = this;
    const answer = await this.#answerTo(frame);
    // The line may be another one by now, but the connection must be the one that was asked.
    if (this.connection === connection) this.#outbox.tell(answer);
  }

  /** @param {T.Frame} frame */
  async #answerTo({ id, type, ...frame }) {
    const handler = this.#answers.get(type);
    if (!handler) return write({ type: "$error", id, code: "unknown_event", message: "nobody answers this here" });
    try {
      return this.#outbox.write({ type: "$reply", id, ...wrap(await handler(unwrap(frame))) });
    } catch (error) {
      report(error);
      return write({ type: "$error", id, code: "failed", message: "the handler failed" });
    }
  }

  /** @param {Channel} channel */
  #left(channel) {
    if (!this.#forget(channel)) return;
    this.#leaving.add(channel.name);
    this.#leave(channel.name);
  }

  /** @param {string} channel */
  #leave(channel) {
    this.#outbox.call({ type: "$unsubscribe", channel }, () => this.#leaving.delete(channel));
  }

  /** @param {Channel} channel @returns {boolean} false if it was none of ours any more */
  #forget(channel) {
    return this.#channels.get(channel.name) === channel && this.#channels.delete(channel.name);
  }
}

/** @param {string} [reason] */
const closed = (reason) => new OpenlineError("closed", reason || "the line is closed");
