/** Owns a channel's subscription: how far it is known to be complete, and that each publication is delivered once. */
/** @import * as T from "./types.js" */

import { Emitter } from "./surroundings.js";
import { OpenlineError, covers, errorOf, eventOf, nameOf, wrap } from "./frames.js";
import { delay } from "./socket.js";

const EVERY_MS = 3000;
const LASTS_MS = 5000;
/** So many are a crowd; nobody reads more names. */
const MOST = 1000;

class Typing {
  #clock;
  #changed;
  #said = -Infinity;
  /** By connection, the one that ends first in front. @type {Map<string, {member: T.Member, until: number}>} */
  #typists = new Map();
  /** @type {any} */
  #timer;

  /** @param {T.Clock} clock @param {(members: T.Member[]) => void} changed */
  constructor(clock, changed) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** Whether it is time to tell the others again; if so, that counts as told. */
  due() {
    const now = this.#clock.now();
    // A clock that was set back must not silence us.
    if (now >= this.#said && now - this.#said < EVERY_MS) return false;
    this.#said = now;
    return true;
  }

  /** What was typed has been sent: others take it for the end of typing, so the next key is news again. */
  wrote() {
    this.#said = -Infinity;
  }

  /** @param {T.Member} member */
  started(member) {
    const known = this.#typists.delete(member.connection);
    if (this.#typists.size >= MOST) return;
    this.#typists.set(member.connection, { member, until: this.#clock.now() + LASTS_MS });
    this.#update(!known);
  }

  /** @param {string} connection */
  stopped(connection) {
    if (this.#typists.delete(connection)) this.#update(true);
  }

  /** Forgets everybody without a word. */
  end() {
    this.#typists.clear();
    this.#update(false);
  }

  #sweep() {
    const now = this.#clock.now();
    const before = this.#typists.size;
    for (const [connection, { until }] of this.#typists) {
      if (until <= now) this.#typists.delete(connection);
    }
    this.#update(this.#typists.size < before);
  }

  /** @param {boolean} changed */
  #update(changed) {
    this.#clock.clearTimeout(this.#timer);
    const [first] = this.#typists.values();
    if (first) this.#timer = this.#clock.setTimeout(() => this.#sweep(), first.until - this.#clock.now());
    if (changed) this.#changed(Array.from(this.#typists.values(), ({ member }) => member));
  }
}

/** @implements {T.Channel} */
export class Channel {
  name;
  ready;
  /** @type {Map<string, T.Member>} */
  members = new Map();
  count = 0;
  /** Whether pushes of the channel are for this subscription. */
  live = false;
  /** Whether it was asked for along with `$connect`, and not answered yet. */
  asked = false;

  #options;
  #host;
  #events = new Emitter();
  #typing;
  /** Where to go on from. @type {string | undefined} */
  #since;
  /** @type {string | undefined} */
  #delivered;
  #over = false;
  #tries = 0;
  /** @type {any} */
  #timer;
  /** @type {(value: any) => void} */
  #resolve = () => {};
  /** @type {(error: Error) => void} */
  #reject = () => {};

  /** @param {string} name @param {T.SubscribeOptions} options @param {T.Host} host */
  constructor(name, options, host) {
    this.name = name;
    this.#options = options;
    this.#host = host;
    this.#since = options.since;
    this.#typing = new Typing(host.clock, (members) => this.#events.emit("$typing", members));
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not wait for it learns of a refusal from "$error".
    this.ready.catch(() => {});
  }

  /** @type {T.Channel["on"]} */
  on(type, handler) {
    return this.#events.on(type, handler);
  }

  /** @type {T.Channel["publish"]} */
  async publish(type, payload, { volatile, echo } = {}) {
    /** @type {T.Frame} */
    const frame = { type: nameOf(type), channel: this.name, ...wrap(payload) };
    if (echo === false) frame.echo = false;
    if (volatile) return this.#host.outbox.pass({ ...frame, volatile });
    this.#typing.wrote();
    return this.#host.outbox.submit("publication", frame);
  }

  /** @type {T.Channel["history"]} */
  async history({ limit, before, since } = {}) {
    const frame = { type: "$history", channel: this.name, limit, before, since };
    const reply = await this.#host.outbox.submit("read", frame);
    return { ...reply, publications: reply.publications.map((/** @type {T.Frame} */ said) => eventOf(said, true)) };
  }

  /** @type {T.Channel["presence"]} */
  presence({ limit, after } = {}) {
    return this.#host.outbox.submit("read", { type: "$presence", channel: this.name, limit, after });
  }

  typing() {
    // Nobody misses it if it is not allowed.
    if (this.#typing.due()) this.publish("typing", undefined, { volatile: true, echo: false }).catch(() => {});
  }

  unsubscribe() {
    this.end(new OpenlineError("closed", "the channel was left"));
    this.#host.left();
  }

  // What follows is between the channel and its line.

  /** Subscribes, or goes on with the next page. */
  join() {
    this.#host.outbox.call(this.#asks(), (answer) => this.#answered(answer));
  }

  /**
   * Rejoins on a line that is about to be open: gives what is to be said there.
   *
   * @param {string | undefined} seen @param {number} most bytes
   */
  ahead(seen, most) {
    this.#goesOnFrom(seen);
    const text = this.#host.outbox.ahead(this.#asks(), (answer) => this.#answered(answer), most);
    this.asked = text !== undefined;
    return text;
  }

  /** The connection was taken up again, and this subscription with it. Who came and went in between was not told. */
  carryOn() {
    if (!this.#options.presence) return;
    this.#host.outbox.call({ type: "$presence", channel: this.name }, ({ type, payload }) => {
      if (type === "$reply") this.#present(payload);
    });
  }

  /** The connection is gone. @param {string | undefined} seen its last position */
  rejoin(seen) {
    this.#goesOnFrom(seen);
    this.join();
  }

  /** @param {string | undefined} seen */
  #goesOnFrom(seen) {
    // It was complete where it was made, and saw everything since. Between epochs the later word counts: at worst the
    // server then says that something was lost.
    if (this.live && seen && !covers(this.#since, seen)) this.#since = seen;
    this.live = false;
  }

  #asks() {
    const { last, presence } = this.#options;
    const since = this.#since;
    // Where `since` cannot be recovered, the `last` ones are better than nothing.
    return { type: "$subscribe", channel: this.name, since, last, presence: presence || undefined };
  }

  /** The line broke. */
  lost() {
    this.asked = false;
    this.#host.clock.clearTimeout(this.#timer);
  }

  /** @param {Error} error */
  end(error) {
    this.live = false;
    this.#over = true;
    this.lost();
    this.#typing.end();
    this.#reject(error);
  }

  /** @param {string | undefined} position */
  gap(position) {
    this.#events.emit("$gap", { position });
  }

  /** @param {T.Restored} publication that an earlier page wrote here, and that is to be published yet */
  restored(publication) {
    if (!this.#over) this.#events.emit("$restored", publication);
  }

  /** @param {T.Frame} frame of this channel */
  push(frame) {
    if (!this.live) return;
    const payload = frame.payload ?? {};
    if (!frame.type.startsWith("$")) this.#deliver(frame, false);
    else if (frame.type === "$gap") this.#events.emit("$gap", payload);
    else if (frame.type === "$unsubscribed") this.#ended(frame.type, payload, "the server ended the subscription");
    else if (frame.type === "$joined" || frame.type === "$left") this.#moved(frame.type, payload);
    else if (frame.type === "$presence") this.#present(payload);
  }

  /** @param {string} type @param {{member: T.Member, count: number}} payload */
  #moved(type, payload) {
    const { member, count } = payload;
    if (type === "$joined") this.members.set(member.connection, member);
    else this.members.delete(member.connection);
    this.count = count;
    if (type === "$left") this.#typing.stopped(member.connection);
    this.#events.emit(type, payload);
    this.#tellPresence();
  }

  /** @param {T.Frame} frame */
  #answered(frame) {
    const { clock } = this.#host;
    this.asked = false;
    if (this.#over) return;
    if (frame.type === "$reply") this.#page(frame.payload);
    else if (frame.retry) this.#timer = clock.setTimeout(() => this.join(), delay(this.#tries++, clock.random));
    else this.#ended("$error", errorOf(frame));
  }

  /** @param {Record<string, any>} reply */
  #page({ publications = [], more, position, recovered, presence }) {
    this.#tries = 0;
    if (recovered === false) this.gap(position);
    for (const publication of publications) this.#deliver(publication, true);
    if (this.#over) return;
    this.#since = position;
    this.live = !more;
    if (more) this.join();
    else this.#resolve({ position, recovered });
    if (presence) this.#present(presence);
  }

  /** @param {string} word @param {any} payload @param {string} [reason] */
  #ended(word, payload, reason) {
    this.end(reason ? new OpenlineError("closed", reason) : payload);
    this.#host.ended();
    this.#events.emit(word, payload);
  }

  /** @param {T.Presence} presence */
  #present({ count, members }) {
    if (this.#over) return;
    this.members.clear();
    for (const member of members) this.members.set(member.connection, member);
    this.count = count;
    this.#tellPresence();
  }

  #tellPresence() {
    this.#events.emit("$presence", { count: this.count, members: [...this.members.values()] });
  }

  /** @param {T.Frame} frame @param {boolean} recovered */
  #deliver(frame, recovered) {
    const { type, from, position } = frame;
    if (this.#over || (position && covers(this.#delivered, position))) return;
    this.#delivered = position ?? this.#delivered;
    if (from && type !== "typing") this.#typing.stopped(from.connection);
    else if (from && !position) this.#typing.started(from);
    const event = eventOf(frame, recovered);
    this.#events.emit(type, event.payload, event);
  }
}
