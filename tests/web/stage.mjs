/** Owns what the tests put in place of time, the network and the page. */

import { connect } from "../../src/openline/web/sdk/openline.js";

/** Lets everything run that waits for nothing but its turn. */
export async function settle() {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Time that stands still until it is told to go on. */
export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #last = 0;
  /** What chance says next. */
  luck = 1;

  now = () => this.#now;
  random = () => this.luck;
  setTimeout = (run, ms) => {
    this.#last += 1;
    this.#timers.set(this.#last, { run, at: this.#now + ms });
    return this.#last;
  };
  clearTimeout = (timer) => void this.#timers.delete(timer);

  get timers() {
    return this.#timers.size;
  }

  async advance(ms) {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      const [timer, { run, at }] = next;
      this.#timers.delete(timer);
      this.#now = Math.max(at, this.#now);
      run();
      await settle();
    }
    this.#now = end;
  }

  #next(end) {
    const due = [...this.#timers].filter(([, { at }]) => at <= end);
    return due.sort((one, other) => one[1].at - other[1].at)[0];
  }
}

/** The server's end of a socket, moved by hand. */
export class FakeSocket {
  readyState = 0;
  bufferedAmount = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  /** Frames that the client sent and nobody has taken yet. */
  sent = [];
  /** What it sent, each with all its frames. */
  messages = [];
  /** The code that the client closed with, null without one. */
  closed = undefined;

  constructor(url) {
    this.url = url;
  }

  send(text) {
    if (this.readyState !== 1) throw new Error("send on a socket that is not open");
    const frames = [JSON.parse(text)].flat();
    this.messages.push(frames);
    this.sent.push(...frames);
    for (const frame of frames) this.onsent?.(frame);
  }

  close(code) {
    if (this.closed === undefined) this.closed = code ?? null;
    this.readyState = 2;
  }

  accept() {
    this.readyState = 1;
    this.onopen({});
  }

  receive(...frames) {
    for (const frame of frames) this.onmessage({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  /** The line breaks, or the server closes it. */
  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  /** Takes the oldest frame that the client sent. */
  take(type) {
    const at = type === undefined ? 0 : this.sent.findIndex((frame) => frame.type === type);
    if (at < 0 || this.sent.length === 0) throw new Error(`no ${type} among ${JSON.stringify(this.sent)}`);
    return this.sent.splice(at, 1)[0];
  }

  /** Replies to the oldest frame of this type. */
  reply(type, payload) {
    const frame = this.take(type);
    this.receive({ type: "$reply", id: frame.id, payload });
    return frame;
  }

  refuse(type, error) {
    const frame = this.take(type);
    this.receive({ type: "$error", id: frame.id, message: "no", ...error });
    return frame;
  }
}

/** Something that fires events like a window or a document. */
export class FakeTarget extends EventTarget {
  fire(type, about = {}) {
    this.dispatchEvent(Object.assign(new Event(type), about));
  }
}

let servers = 0;

/** One line on a stage where everything is moved by hand. */
export class Stage {
  clock = new FakeClock();
  window = new FakeTarget();
  document = Object.assign(new FakeTarget(), { hidden: false });
  sockets = [];
  statuses = [];

  constructor({ url, ...options } = {}) {
    const { sockets } = this;
    servers += 1;
    this.url = url ?? `ws://server-${servers}.test/openline`;
    this.options = {
      clock: this.clock,
      page: { window: this.window, document: this.document },
      transports: ["websocket"],
      WebSocket: class extends FakeSocket {
        constructor(url) {
          super(url);
          sockets.push(this);
        }
      },
      ...options,
    };
    this.line = connect(this.url, this.options);
    this.line.on("$status", (change) => this.statuses.push(change));
  }

  /** The newest socket. */
  get socket() {
    return this.sockets.at(-1);
  }

  /** Sockets that the client has not given up. */
  get alive() {
    return this.sockets.filter(({ closed, readyState }) => closed === undefined && readyState < 2);
  }

  /** The newest socket opens, and `$connect` is answered. Gives what the client asked for. */
  async open(reply = {}) {
    await settle();
    this.socket.accept();
    const payload = {
      ...{ connection: "c1", resume: "secret-1", window: 30, position: "e.10", resumed: false, ping: 25 },
      ...{ limits: { message: 65_536 }, ...reply },
    };
    const frame = this.socket.reply("$connect", payload);
    await settle();
    return frame;
  }

  /** The line breaks and comes back; gives what the client asked for. */
  async again(reply = {}, code = 1006) {
    this.socket.end(code);
    await this.clock.advance(this.statuses.at(-1).retryIn);
    return this.open({ resume: `secret-${this.sockets.length}`, ...reply });
  }

  /** Subscribes, and answers it. */
  join(name, options, reply = {}) {
    const channel = this.line.subscribe(name, options);
    this.socket.reply("$subscribe", { channel: name, position: "e.10", publications: [], ...reply });
    return channel;
  }
}

/** A publication in the form of a push. */
export const said = (channel, stamp, payload = stamp, more = {}) => ({
  ...{ type: "message", channel, payload, position: `e.${stamp}`, from: { connection: "c2" }, ...more },
});

/** Everything of a type that a channel or a line hears from now on. */
export function heard(target, type = "message") {
  const payloads = [];
  target.on(type, (payload) => payloads.push(payload));
  return payloads;
}

/** What a promise rejected with. */
export const errorOf = (promise) =>
  promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${JSON.stringify(value)}`)),
    (error) => error,
  );
