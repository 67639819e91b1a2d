/** Owns what the tests put in place of `fetch`: requests that are answered by hand, and streams that are fed by hand. */

import { Stage, settle } from "./stage.mjs";

/** One request, until it is answered or given up. */
export class FakeRequest {
  open = true;
  #resolve;
  #reject;
  #controller;

  constructor(url, { method, headers, body, signal, keepalive, credentials }, resolve, reject) {
    const { pathname, search } = new URL(url);
    Object.assign(this, { method, path: pathname, query: search, headers, keepalive, credentials });
    this.body = body === undefined ? undefined : JSON.parse(body);
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener("abort", () => this.fail("aborted"));
  }

  answer(status, body, headers = {}) {
    this.open = false;
    const text = body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body);
    this.#resolve(new Response(text, { status, headers }));
    return settle();
  }

  problem(status, code, headers = {}) {
    return this.answer(status, { status, code, detail: "no" }, { "content-type": "application/problem+json", ...headers });
  }

  /** The head of an event stream comes. */
  head(type = "text/event-stream; charset=utf-8") {
    const stream = new ReadableStream({ start: (controller) => void (this.#controller = controller) });
    this.#resolve(new Response(stream, { status: 200, headers: { "content-type": type } }));
    return settle();
  }

  bytes(text) {
    this.#controller.enqueue(new TextEncoder().encode(text));
    return settle();
  }

  async push(...frames) {
    for (const frame of frames) await this.bytes(`data: ${JSON.stringify(frame)}\n\n`);
  }

  /** The answer is over. */
  end() {
    this.open = false;
    this.#controller.close();
    return settle();
  }

  /** The network breaks. */
  fail(reason = "the network broke") {
    if (!this.open) return undefined;
    this.open = false;
    this.reason = reason;
    const error = new TypeError(reason);
    if (this.#controller) this.#controller.error(error);
    else this.#reject(error);
    return settle();
  }
}

/** A stage with every way there is. */
export class Crossroads extends Stage {
  constructor(options = {}) {
    const requests = [];
    const fetch = (url, init) =>
      new Promise((resolve, reject) => requests.push(new FakeRequest(url, init, resolve, reject)));
    super({ transports: undefined, fetch, ...options });
    this.requests = requests;
    this.moves = [];
    this.line.on("$transport", ({ transport }) => this.moves.push(transport));
  }

  /** The requests of a kind that are open, oldest first. */
  asked(method, path) {
    return this.requests.filter((request) => request.open && request.method === method && request.path.endsWith(path));
  }

  /** The oldest open request of a kind. */
  ask(method, path) {
    const [found] = this.asked(method, path);
    if (!found) throw new Error(`no ${method} ${path} among ${this.requests.map(({ method, path, open }) => [method, path, open])}`);
    return found;
  }

  get stream() {
    return this.asked("GET", "/events").at(-1);
  }

  get poll() {
    return this.asked("GET", "/poll").at(-1);
  }

  /** The frames of the oldest POST, which is answered. */
  async posted() {
    const post = this.ask("POST", "/openline");
    await post.answer(204);
    return [post.body].flat();
  }

  /** What the server says on the newest line. */
  async tell(...frames) {
    if (this.stream && this.way !== "poll") return this.stream.push(...frames);
    this.batch += 1;
    return this.poll.answer(200, frames, { "openline-batch": `${this.batch}` });
  }

  /** Time goes on, and the server pings. */
  async live(ms) {
    for (let left = ms; left > 0; left -= 25_000) {
      await this.clock.advance(Math.min(25_000, left));
      await this.tell({ type: "$ping" });
      await this.posted();
    }
  }

  /** The stream or the poll that waits is answered, and so is `$connect`. Gives what the client asked for. */
  async openOver(way, reply = {}) {
    await settle();
    Object.assign(this, { way, batch: 0 });
    if (way === "stream") await this.stream.head();
    await this.tell({ type: "$line", token: `token-${(this.lines = (this.lines ?? 0) + 1)}` });
    const [hello] = await this.posted();
    await this.tell({ type: "$reply", id: hello.id, payload: welcome(reply) });
    return hello;
  }

  /** Joins a channel over a stream or polls. */
  async joinOver(name, options = {}, reply = {}) {
    const channel = this.line.subscribe(name, options);
    await settle();
    const [{ id }] = await this.posted();
    await this.tell({ type: "$reply", id, payload: { channel: name, position: "e.10", publications: [], ...reply } });
    return channel;
  }
}

export const welcome = (reply = {}) => ({
  ...{ connection: "c1", resume: "secret-1", window: 30, position: "e.10", resumed: false, ping: 25 },
  ...{ limits: { message: 65_536 }, ...reply },
});

/** A storage that pages of one origin share. */
export class FakeStorage {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => void this.items.set(key, value);
  removeItem = (key) => void this.items.delete(key);
}
