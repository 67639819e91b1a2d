/** Owns the line that tells how the connection is. */

import { byId } from "./elements.js";
import { statusSentence } from "./sentences.js";

export class StatusView {
  #app = byId("app");
  #element = byId("status");
  #text = byId("status-text");
  #announcer = byId("status-announcer");
  #again = byId("again");
  #said = "";
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  /** @type {{status: string, retryAt?: number, code?: number, reason?: string, met: boolean}} */
  #line = { status: "connecting", met: false };

  constructor(/** @type {any} */ line) {
    this.#line.status = line.status;
    line.on("$status", (/** @type {any} */ change) => this.#changed(change));
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.#draw());
    this.#again.addEventListener("click", () => location.reload());
    this.#draw();
  }

  #changed(
    /** @type {{status: string, retryIn?: number, code?: number, reason?: string}} */ { status, retryIn, code, reason },
  ) {
    const met = this.#line.met || status === "open";
    this.#line = { status, code, reason, met, retryAt: retryIn === undefined ? undefined : Date.now() + retryIn };
    clearInterval(this.#ticking);
    if (status === "waiting") this.#ticking = setInterval(() => this.#draw(), 500);
    this.#draw();
  }

  #draw() {
    const { tone, text, announce } = statusSentence({ ...this.#line, online: navigator.onLine }, Date.now());
    this.#app.dataset.status = this.#line.status;
    this.#element.dataset.tone = tone;
    this.#text.textContent = text;
    this.#again.hidden = this.#line.status !== "closed";
    if (announce === this.#said) return;
    this.#said = announce;
    this.#announcer.textContent = announce;
  }
}
