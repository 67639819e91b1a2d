/** Owns the choice of a name: where it comes from, the dialog that asks for it, and where it is remembered. */

import { byId, paintAvatar } from "./elements.js";
import { chooseName, cleanName, memberId } from "./names.js";
import { recall, remember } from "./memory.js";

const KEY = "openline.chat.name";

/**
 * The name this window goes by, without asking: from `?name=`, else this tab's, else the last one chosen in this
 * browser. An empty `?name=` stands for a new person: then only what this tab has chosen counts.
 */
export function knownName() {
  const asked = new URLSearchParams(location.search).get("name");
  const candidates = asked === null ? [recall("tab", KEY), recall("browser", KEY)] : [asked || recall("tab", KEY)];
  return candidates.map((text) => chooseName(text).name).find(Boolean) ?? "";
}

/**
 * Ask for a name. With a `current` name it may be cancelled: the answer is then null.
 * @param {{current?: string, error?: string}} [about]
 * @returns {Promise<string | null>}
 */
export function askName({ current = "", error = "" } = {}) {
  const dialog = byId("name-dialog");
  const asked = current || cleanName(new URLSearchParams(location.search).get("name"));
  begin(asked, error || (asked && chooseName(asked).error), Boolean(current));
  if (!dialog.open) dialog.showModal();
  byId("name").select();
  return new Promise((resolve) => {
    const listening = new AbortController();
    const answer = (/** @type {string | null} */ name) => {
      listening.abort();
      dialog.close();
      resolve(name);
    };
    listen(listening.signal, Boolean(current), answer);
  });
}

/** Keep a name for this tab, and for the next visit of this browser. */
export function keepName(/** @type {string} */ name) {
  remember("tab", KEY, name);
  remember("browser", KEY, name);
}

function listen(
  /** @type {AbortSignal} */ signal,
  /** @type {boolean} */ mayCancel,
  /** @type {(name: string | null) => void} */ answer,
) {
  byId("name").addEventListener("input", () => preview(), { signal });
  byId("name-cancel").addEventListener("click", () => answer(null), { signal });
  const cancelled = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (mayCancel) answer(null);
  };
  byId("name-dialog").addEventListener("cancel", cancelled, { signal });
  // A browser may let the second Escape through whatever the page says.
  byId("name-dialog").addEventListener("close", () => (mayCancel ? answer(null) : byId("name-dialog").showModal()), {
    signal,
  });
  const submitted = (/** @type {Event} */ event) => {
    event.preventDefault();
    const { name, error } = chooseName(byId("name").value);
    if (name) answer(name);
    else complain(error);
  };
  byId("name-form").addEventListener("submit", submitted, { signal });
}

function begin(/** @type {string} */ name, /** @type {string} */ error, /** @type {boolean} */ isChange) {
  byId("name").value = name;
  byId("name-cancel").hidden = !isChange;
  byId("name-title").textContent = isChange ? "Change your name" : "What should we call you?";
  byId("name-submit").textContent = isChange ? "Save" : "Join the chat";
  preview();
  complain(error);
}

function preview() {
  const name = cleanName(byId("name").value);
  complain("");
  paintAvatar(byId("name-avatar"), name ? memberId({ connection: "", user: name }) : "", name);
}

function complain(/** @type {string} */ error) {
  byId("name-error").textContent = error;
  byId("name-error").hidden = !error;
  byId("name").setAttribute("aria-invalid", String(Boolean(error)));
  if (error) byId("name").focus();
}
