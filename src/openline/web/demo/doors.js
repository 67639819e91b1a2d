/** Owns the dialog that shows the other ways into the open channel. */

import { byId, icon, make } from "./elements.js";
import { channelTitle } from "./names.js";
import { snippetsFor } from "./snippets.js";

const COPIED_FOR = 1600;

/** Let the buttons open the dialog; `channel` tells which channel is open then. */
export function setUpDoors(/** @type {() => string} */ channel) {
  const dialog = byId("doors-dialog");
  byId("doors-open").addEventListener("click", () => {
    draw(channel());
    dialog.showModal();
  });
  byId("doors-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (/** @type {Event} */ event) => event.target === dialog && dialog.close());
  byId("doors").addEventListener("click", (/** @type {any} */ event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });
}

function draw(/** @type {string} */ channel) {
  byId("doors-title").textContent = `Every door leads to #${channelTitle(channel)}`;
  const snippets = snippetsFor({ host: location.host, secure: location.protocol === "https:" }, channel);
  byId("doors").replaceChildren(...snippets.map(figureOf));
}

function figureOf(/** @type {import("./snippets.js").Snippet} */ { id, title, note, code }) {
  const label = `Copy: ${title}`;
  const button = make(
    "button",
    { type: "button", class: "copy", "data-copy": id, "aria-label": label },
    icon("copy"),
    make("span", {}, "Copy"),
  );
  const caption = make("figcaption", {}, make("h3", {}, title), make("p", {}, note));
  const block = make(
    "pre",
    { tabindex: "0", role: "region", "aria-label": title },
    make("code", { id: `snippet-${id}` }, code),
  );
  return make("figure", { "data-snippet": id }, caption, button, block);
}

/** Where the clipboard is not ours to write (a plain http page), the text is marked for the reader to copy. */
async function copy(/** @type {HTMLElement} */ button) {
  const code = byId(`snippet-${button.dataset.copy}`);
  const label = /** @type {HTMLElement} */ (button.lastElementChild);
  try {
    await navigator.clipboard.writeText(code.textContent);
    label.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(code);
    label.textContent = "Marked";
  }
  byId("status-announcer").textContent = `${label.textContent}.`;
  setTimeout(() => (label.textContent = "Copy"), COPIED_FOR);
}
