/** Owns the line that tells how the connection is. */

import { byId } from "./elements.js";
import { detourSentence, statusSentence } from "./sentences.js";

export class StatusView {
  #app = byId("app");
  #element = byId("status");
  #text = byId("status-text");
  #announcer = byId("status-announcer");
  #again = byId("again");
  #line;
  #said = "";
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  /** @type {{status: string, retryAt?: number, code?: number, reason?: string, met: boolean}} */
  #state = { status: "connecting", met: false };

  constructor(/** @type {any} */ line) {
    this.#line = line;
    this.#state.status = line.status;
    line.on("$status", (/** @type {any} */ change) => this.#changed(change));
    line.on("$transport", () => this.#draw());
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.#draw());
    this.#again.addEventListener("click", () => location.reload());
    this.#draw();
  }

  #changed(
    /** @type {{status: string, retryIn?: number, code?: number, reason?: string}} */ { status, retryIn, code, reason },
  ) {
    const met = this.#state.met || status === "open";
    this.#state = { status, code, reason, met, retryAt: retryIn === undefined ? undefined : Date.now() + retryIn };
    clearInterval(this.#ticking);
    if (status === "waiting") this.#ticking = setInterval(() => this.#draw(), 500);
    this.#draw();
  }

  #draw() {
    const { transport } = this.#line;
    const { tone, text, announce } = statusSentence(
      { ...this.#state, transport, online: navigator.onLine },
      Date.now(),
    );
    this.#app.dataset.status = this.#state.status;
    this.#app.dataset.transport = transport ?? "";
    this.#element.dataset.tone = tone;
    this.#element.title = detourSentence(transport);
    this.#text.textContent = text;
    this.#again.hidden = this.#state.status !== "closed";
    if (announce === this.#said) return;
    this.#said = announce;
    this.#announcer.textContent = announce;
  }
}
