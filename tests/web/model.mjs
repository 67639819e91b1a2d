/** Owns a small model of the server, and a network between it and the client that a seed moves. */

import { Stage, settle } from "./stage.mjs";

const KEY_MS = 300_000;

/** The server as the protocol describes it, without anything that takes time. */
export class Model {
  epoch = 1;
  stamp = 0;
  /** Everything that was published, in order: {channel, stamp, frame}. */
  log = [];
  /** Where the publication of a key stands, and until when that is known. */
  keys = new Map();
  now = () => 0;
  connections = new Map();
  /** What the handler of events was called with. */
  applied = [];
  made = 0;
  /** How many publications of a channel are remembered, and how many go into a reply. */
  retention = Infinity;
  page = 3;
  /** Asked before each publication: "taken", "lost" or "refused"; the last two are told as an unknown outcome. */
  engine = () => "taken";

  get position() {
    return `e${this.epoch}.${this.stamp}`;
  }

  /** The log and all connections are gone. */
  restart() {
    this.epoch += 1;
    this.stamp = 0;
    this.keys.clear();
    this.connections.clear();
  }

  /** The window of every connection without a line is over. */
  forget() {
    for (const [secret, { link }] of this.connections) if (link === null) this.connections.delete(secret);
  }

  publish(channel, payload, type = "message") {
    this.stamp += 1;
    const frame = { type, channel, payload, position: this.position, from: { connection: "other" } };
    this.log.push({ epoch: this.epoch, channel, stamp: this.stamp, frame });
    for (const { link, channels } of this.connections.values()) if (channels.has(channel)) link?.push(frame);
  }

  /** What a channel said behind a position; null when that is not known any more. */
  behind(channel, position) {
    const [epoch, stamp] = position.slice(1).split(".").map(Number);
    const kept = this.log.filter((entry) => entry.epoch === this.epoch && entry.channel === channel);
    const gone = kept[kept.length - this.retention - 1]?.stamp ?? 0;
    if (epoch !== this.epoch || stamp < gone) return null;
    return kept.filter((entry) => entry.stamp > stamp).map(({ frame }) => frame);
  }

  /** Carries out a frame that came on `link`. */
  take(link, { type, id, key, channel, payload, since, ...frame }) {
    const reply = (value) => link.push({ type: "$reply", id, payload: value });
    if (type === "$connect") this.#connect(link, { since, ...frame }, reply);
    else if (type === "$subscribe") this.#subscribe(link, channel, since, reply);
    else if (type === "$unsubscribe") reply(link.connection.channels.delete(channel) ? {} : {});
    else if (channel !== undefined) this.#publication(link, { id, key, channel, payload }, reply);
    else this.#event(link, key, payload, reply);
  }

  #connect(link, { resume, since }, reply) {
    const known = this.connections.get(resume);
    this.connections.delete(resume);
    this.made += 1;
    const connection = known ?? { id: `c${this.made}`, channels: new Set(), events: new Map() };
    if (connection.link) connection.link.broken = true;
    Object.assign(connection, { link });
    link.connection = connection;
    this.connections.set(`secret-${this.made}`, connection);
    const missed = [...connection.channels].map((channel) => [channel, this.behind(channel, since)]);
    reply({
      ...{ connection: connection.id, resume: `secret-${this.made}`, window: 30, ping: 25, limits: { message: 65_536 } },
      ...{ resumed: known !== undefined, position: known && missed.every(([, all]) => all) ? since : this.position },
      subscriptions: missed.map(([channel, all]) => ({ channel, recovered: all !== null })),
    });
    const all = missed.flatMap(([, publications]) => publications ?? []);
    const stamp = ({ position }) => Number(position.split(".")[1]);
    for (const frame of all.sort((one, other) => stamp(one) - stamp(other))) link.push(frame);
  }

  #subscribe({ connection }, channel, since, reply) {
    const publications = since === undefined ? [] : this.behind(channel, since);
    const answer = { channel, position: this.position, publications: (publications ?? []).slice(0, this.page) };
    if (since !== undefined) answer.recovered = publications !== null;
    if (publications?.length > this.page) Object.assign(answer, { more: true, position: answer.publications.at(-1).position });
    else connection.channels.add(channel);
    reply(answer);
  }

  #publication(link, { id, key, channel, payload }, reply) {
    const outcome = this.keys.get(key)?.until > this.now() ? "known" : this.engine();
    if (outcome === "taken" || outcome === "lost") {
      this.publish(channel, payload);
      this.keys.set(key, { position: this.position, until: this.now() + KEY_MS });
    }
    if (outcome === "taken" || outcome === "known") reply({ position: this.keys.get(key).position });
    else link.push({ type: "$error", id, code: "unavailable", message: "no answer", retry: true });
  }

  #event({ connection }, key, payload, reply) {
    if (!connection.events.has(key)) this.applied.push(payload);
    connection.events.set(key, true);
    reply(payload);
  }
}

/** A client and a model, with frames under way between them. */
export class World {
  constructor(seed, model = new Model(), stage = new Stage()) {
    this.seed = seed;
    this.model = model;
    this.stage = stage;
    this.links = new Map();
    model.now = () => stage.clock.now();
  }

  get line() {
    return this.stage.line;
  }

  /** A number below `many` that only the seed decides. */
  draw(many) {
    this.seed = (this.seed * 48_271) % 2_147_483_647;
    return Math.floor((this.seed / 2_147_483_647) * many);
  }

  /** The line as it is now; null while there is none. */
  get link() {
    const { socket } = this.stage;
    if (socket.closed !== undefined || socket.readyState > 1) return null;
    if (!this.links.has(socket)) this.links.set(socket, { down: [], socket, broken: false, push: (frame) => link.down.push(frame) });
    const link = this.links.get(socket);
    return link;
  }

  /** One frame goes up. */
  up() {
    const { link } = this;
    if (link?.socket.readyState === 0) link.socket.accept();
    else if (link?.socket.sent.length > 0) this.model.take(link, link.socket.sent.shift());
  }

  /** One frame comes down. */
  down() {
    const { link } = this;
    if (link?.down.length > 0) link.socket.receive(link.down.shift());
  }

  /** The line breaks, with everything that is under way on it. */
  cut() {
    const { link } = this;
    if (!link) return;
    if (link.connection?.link === link) link.connection.link = null;
    link.down.length = 0;
    link.socket.end();
  }

  /** Time goes on; an open line is kept alive. */
  async #pass(link) {
    if (link) link.socket.receive({ type: "$ping" });
    link?.socket.sent.pop();
    await this.stage.clock.advance(7000);
  }

  /** Everything arrives that is under way, and everything that follows from it. */
  async calm() {
    for (let idle = 0; idle < 5; ) {
      const { link } = this;
      const busy = link && (link.socket.readyState === 0 || link.socket.sent.length > 0 || link.down.length > 0);
      idle = busy ? 0 : idle + 1;
      this.up();
      this.down();
      if (busy) await settle();
      else await this.#pass(link);
    }
  }
}
