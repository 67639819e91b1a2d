/** The dialogues of spec/vectors/sessions.json, with the SDK as client a. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { unwrap } from "../../src/openline/web/sdk/openline/frames.js";
import { Stage, settle } from "./stage.mjs";

const { sessions } = JSON.parse(readFileSync(new URL("../../spec/vectors/sessions.json", import.meta.url), "utf8"));

const ANYTHING = { window: 30, ping: 25, message: "for people" };

/** Plays one session: says what client a says by way of the SDK, and what the server says by hand. */
class Play {
  stage = new Stage();
  /** What the named wildcards stand for, and the SDK's ids by those of the session. */
  names = new Map();
  ids = new Map();
  outcomes = new Map();
  heard = [];
  expected = [];
  #channels = new Map();
  /** What the SDK promised, by key or id. */
  #outcomeOf = new Map();
  #opened = false;
  #stamp = 0;

  constructor(steps, reversed) {
    this.steps = steps;
    this.reversed = reversed;
    const subscribed = steps.filter(({ client, on }) => !on && client?.type === "$subscribe");
    this.subscribed = new Set(subscribed.map(({ client }) => client.channel));
  }

  async run() {
    for (const step of this.steps) {
      const value = this.#known(step);
      if (step.on === undefined) await this.#step(value);
      await settle();
    }
    assert.deepEqual(this.heard, this.expected);
    assert.deepEqual(this.#said(), []);
    this.stage.line.close();
  }

  async #step({ open, client, server, cut }) {
    if (open) await this.#open();
    if (client) this.#client(client);
    if (server) await this.#server(Array.isArray(server) ? server : [server]);
    if (cut) this.stage.socket.end();
  }

  async #open() {
    if (this.#opened) await this.stage.clock.advance(this.stage.statuses.at(-1).retryIn);
    this.#opened = true;
    this.stage.socket.accept();
  }

  #client({ id, key, ...frame }) {
    if (frame.type === "$connect") this.#outcomeOf.delete(id);
    if (!this.#said().some(({ type }) => type === frame.type)) this.#say(key ?? id, frame);
    const said = this.#said()[0];
    this.stage.socket.sent.splice(this.stage.socket.sent.indexOf(said), 1);
    const { id: sdkId, key: sdkKey, ...rest } = said;
    assert.deepEqual(rest, frame);
    this.ids.set(id, sdkId);
    this.outcomes.set(id, this.#outcomeOf.get(key ?? id));
    if (key === undefined) return;
    assert.equal(sdkKey, this.names.get(key) ?? sdkKey);
    this.names.set(key, sdkKey);
  }

  /** What the SDK said, less what it needs only because a channel is the way to publish. */
  #said() {
    const { socket } = this.stage;
    for (const frame of socket.sent.filter(({ type, channel }) => type === "$subscribe" && !this.subscribed.has(channel))) {
      socket.sent.splice(socket.sent.indexOf(frame), 1);
      socket.receive({ type: "$reply", id: frame.id, payload: { position: "e.0", publications: [] } });
    }
    return socket.sent;
  }

  #say(id, { type, channel, volatile, echo, since, last, before, limit, presence, ...carried }) {
    const { line } = this.stage;
    const payload = "payload" in carried ? unwrap(carried) : undefined;
    const chat = () => this.#channels.get(channel) ?? this.#channels.set(channel, line.subscribe(channel)).get(channel);
    const words = {
      $subscribe: () => this.#listen(channel, line.subscribe(channel, { since, last, presence })).ready,
      $unsubscribe: () => chat().unsubscribe(),
      $history: () => chat().history({ limit, before, since }),
      $presence: () => chat().presence(),
    };
    const other = () => (channel ? chat().publish(type, payload, { volatile, echo }) : line.emit(type, payload));
    const outcome = Promise.resolve((words[type] ?? other)());
    this.#outcomeOf.set(id, outcome);
    outcome.catch(() => {});
    this.#said();
  }

  #listen(name, channel) {
    this.#channels.set(name, channel);
    const note = (payload, event) => this.heard.push([event.type, payload, event.position]);
    for (const type of ["message", "cursor", "image"]) channel.on(type, note);
    for (const type of ["$joined", "$left"]) channel.on(type, (payload) => this.heard.push([type, payload, undefined]));
    return channel;
  }

  async #server(frames) {
    for (const frame of this.reversed ? frames.toReversed() : frames) {
      const { id } = frame;
      this.#expect(frame);
      this.stage.socket.receive(id === undefined ? frame : { ...frame, id: this.ids.get(id) });
      await settle();
      const outcome = this.outcomes.get(id);
      if (outcome && frame.type === "$error") await assert.rejects(outcome, { code: frame.code, field: frame.field });
      else if (outcome) this.#check(await outcome, frame.payload);
    }
  }

  #expect({ type, channel, payload, position, encoding }) {
    const all = payload?.more === undefined && payload?.publications;
    for (const said of all || []) this.expected.push([said.type, unwrap(said), said.position]);
    if (channel !== undefined) this.expected.push([type, unwrap({ payload, encoding }), position]);
  }

  #check(outcome, payload) {
    if (payload?.publications && payload.more === undefined) assert.equal(outcome.recovered, payload.recovered);
    else if (payload?.publications) assert.deepEqual(outcome.publications.map((said) => said.payload), payload.publications.map(unwrap));
    else if (payload !== undefined) assert.deepEqual(outcome, payload);
  }

  /** A step with values in place of its wildcards. */
  #known(value, field) {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((entry) => this.#known(entry, field));
    if ("$any" in value) return this.#any(value.$any, field);
    const fields = Object.entries(value).filter(([, entry]) => entry?.$none !== true);
    return Object.fromEntries(fields.map(([name, entry]) => [name, this.#known(entry, name)]));
  }

  #any(name, field) {
    if (name === true) return ANYTHING[field] ?? this.#position();
    const fresh = field === "position" || field === "since" ? () => this.#position() : () => `the-${name}`;
    if (!this.names.has(name)) this.names.set(name, fresh());
    return this.names.get(name);
  }

  #position() {
    this.#stamp += 1;
    return `e.${this.#stamp}`;
  }
}

for (const { name, steps } of sessions) {
  test(name, async () => {
    await new Play(steps, false).run();
    await new Play(steps, true).run();
  });
}
