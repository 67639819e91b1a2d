/** Owns the side panels: columns where there is room for them, drawers where there is not. */

import { byId } from "./elements.js";

const PANELS = [
  { panel: "channels-panel", opener: "channels-open", closer: "channels-close", narrow: "(max-width: 759px)" },
  { panel: "people-panel", opener: "people-open", closer: "people-close", narrow: "(max-width: 1079px)" },
];

export class Drawers {
  #main = byId("main");
  #scrim = byId("scrim");
  #drawers = PANELS.map(({ panel, opener, closer, narrow }) => ({
    panel: byId(panel),
    opener: byId(opener),
    closer: byId(closer),
    narrow: matchMedia(narrow),
  }));
  /** @type {any} */
  #open = null;

  constructor() {
    for (const drawer of this.#drawers) {
      drawer.opener.addEventListener("click", () => this.#show(drawer));
      drawer.closer.addEventListener("click", () => this.close());
      drawer.narrow.addEventListener("change", () => this.#settle(null));
    }
    this.#scrim.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) this.close();
    });
    this.#settle(null);
  }

  /** Close the drawer that is open; the focus goes back to the button that opened it. */
  close() {
    const drawer = this.#open;
    if (!drawer) return;
    this.#settle(null);
    drawer.opener.focus();
  }

  #show(/** @type {any} */ drawer) {
    this.#settle(drawer);
    drawer.closer.focus();
  }

  /** What is out of sight is out of reach too, for the keyboard and for screen readers. */
  #settle(/** @type {any} */ open) {
    this.#open = open;
    for (const drawer of this.#drawers) {
      const isOpen = drawer === open;
      drawer.panel.dataset.open = String(isOpen);
      drawer.panel.inert = drawer.narrow.matches ? !isOpen : open !== null;
      drawer.opener.setAttribute("aria-expanded", String(isOpen));
    }
    this.#main.inert = open !== null;
    this.#scrim.hidden = open === null;
  }
}
