/** What holds for the tabs of one browser, whatever happens: reloads, crashes, caches, cuts, and hours that pass. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Model, World } from "./model.mjs";
import { Origin, rest } from "./origin.mjs";
import { settle } from "./stage.mjs";

const RUNS = 60;
const STEPS = 120;
const LOBBY = "chat:lobby";

/** A browser with tabs, and the server that they talk to. */
class Browser {
  origin = new Origin();
  model = new Model();
  tabs = [];
  /** Everything that was ever written: who, in which stay of the page, and what its page was told. */
  written = [];
  /** What was told of payloads that earlier pages wrote. */
  undelivered = new Map();
  /** Written in the last moment of a page, so that it was never anywhere else. */
  lost = new Set();

  constructor(seed) {
    this.dice = new World(seed, this.model);
    this.open();
  }

  draw(many) {
    return this.dice.draw(many);
  }

  get tab() {
    return this.tabs[this.draw(this.tabs.length)];
  }

  open() {
    const page = this.origin.page();
    const world = new World(1, this.model, page);
    const tab = Object.assign(world, { page, stay: 0, aside: false, persists: undefined });
    page.line.on("$outbox", ({ persists }) => (tab.persists = persists));
    page.line.on("$undelivered", ({ payload, error }) => this.undelivered.set(payload, error.code));
    tab.chat = page.line.subscribe(LOBBY);
    this.tabs.push(tab);
  }

  write(tab) {
    if (tab.aside) return;
    const payload = this.written.length;
    const entry = { payload, writer: tab, stay: tab.stay, told: undefined, position: undefined };
    this.written.push(entry);
    tab.chat.publish("message", payload).then(
      ({ position }) => Object.assign(entry, { told: "published", position }),
      ({ code }) => (entry.told = code),
    );
  }

  /** A page ends, with a goodbye or without; its tab may load it again. */
  async end(tab, how) {
    this.tabs = this.tabs.filter((other) => other !== tab);
    if (how === "reload") tab.page.window.fire("pagehide", { persisted: false });
    tab.cut();
    // What a dead page has asked its database for is done; it does nothing more.
    const told = tab.persists;
    this.origin.kill(tab.page);
    await rest();
    const kept = new Set((await this.origin.kept()).map(({ text }) => JSON.parse(text).payload));
    const log = new Set(this.model.log.map(({ frame }) => frame.payload));
    for (const { payload, writer, told: outcome } of this.written) {
      // A page that goes before it has found the shelf rejects with "closed".
      if (writer !== tab || (outcome && outcome !== "closed") || kept.has(payload) || log.has(payload) || this.undelivered.has(payload)) continue;
      assert.ok(!(how === "reload" && told), `${payload} was not kept though the page said so`);
      this.lost.add(payload);
    }
    if (this.tabs.length === 0 || this.draw(2) === 0) this.open();
  }

  async move() {
    const { tab } = this;
    const steps = [
      ...Array(6).fill(() => tab.up()),
      ...Array(6).fill(() => tab.down()),
      ...Array(4).fill(() => this.write(tab)),
      ...Array(4).fill(() => this.origin.clock.advance(this.draw(2000))),
      ...Array(6).fill(settle),
      () => this.tabs.length < 3 && this.open(),
      () => tab.cut(),
      () => this.end(tab, "reload"),
      () => this.end(tab, "kill"),
      ...Array(2).fill(() => this.put(tab, !tab.aside)),
      () => this.draw(3) === 0 && this.origin.clock.advance(this.draw(400_000)),
      () => tab.aside || tab.page.document.fire("visibilitychange"),
    ];
    await steps[this.draw(steps.length)]();
  }

  /** Into the back-forward cache, or out of it. */
  put(tab, aside) {
    if (aside === tab.aside) return;
    tab.aside = aside;
    tab.stay += 1;
    tab.persists = undefined;
    tab.page.window.fire(aside ? "pagehide" : "pageshow", { persisted: true });
  }

  /** Everybody is back, and everything arrives. */
  async calm() {
    for (const tab of this.tabs) this.put(tab, false);
    let looks = 0;
    for (let idle = 0; idle < 6; ) {
      await rest();
      let busy = false;
      for (const tab of this.tabs) {
        const { link } = tab;
        busy ||= link && (link.socket.readyState === 0 || link.down.length > 0 || link.socket.sent.length > 0);
        tab.up();
        tab.down();
      }
      idle = busy ? 0 : idle + 1;
      if (busy) continue;
      for (const { link, page } of this.tabs) {
        link?.socket.receive({ type: "$ping" });
        link?.socket.sent.pop();
        if (looks < 3) page.document.fire("visibilitychange");
      }
      looks += 1;
      await this.origin.clock.advance(7000);
    }
  }
}

test("for any fate of the tabs, what was written is published once, in order, or said to be unknown", { timeout: 300_000 }, async (t) => {
  const counts = { published: 0, unknown: 0, lost: 0, elsewhere: 0 };
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const browser = new Browser(seed * 7919);
    for (let step = 0; step < STEPS; step += 1) await browser.move();
    await browser.calm();
    const log = browser.model.log.map(({ frame }) => frame.payload);
    const at = (payload) => `seed ${seed}, message ${payload}`;
    assert.equal(new Set(log).size, log.length, `seed ${seed}: something was published twice: ${log}`);
    const last = new Map();
    for (const { payload, writer, stay, told, position } of browser.written) {
      const place = log.indexOf(payload);
      const unknown = told === "unavailable" || browser.undelivered.get(payload) === "unavailable";
      counts.unknown += unknown;
      counts.lost += browser.lost.has(payload);
      counts.elsewhere += told === "elsewhere";
      assert.ok(place >= 0 || unknown || browser.lost.has(payload), at(payload));
      if (told === "published") assert.equal(browser.model.log[place].frame.position, position, at(payload));
      if (place < 0) continue;
      counts.published += 1;
      const key = `${browser.written.find((entry) => entry.writer === writer).payload} ${stay}`;
      assert.ok(place > (last.get(key) ?? -1), `${at(payload)} is out of order`);
      last.set(key, place);
    }
    assert.deepEqual(await browser.origin.kept(), [], `seed ${seed}`);
    for (const { page } of browser.tabs) page.line.close();
  }
  t.diagnostic(JSON.stringify(counts));
  for (const kind of ["published", "unknown", "elsewhere"]) assert.ok(counts[kind] > 0, kind);
});
