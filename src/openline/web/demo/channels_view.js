/** Owns the list of channels: which there are, which is open, what is unread, and the field to join another. */

import { byId, icon, make, spoken } from "./elements.js";
import { chooseChannel } from "./names.js";
import { badge } from "./sentences.js";

/** @typedef {import("./room.js").Room} Room */
/** @typedef {(channel: string) => void} Action */
/** @typedef {{open: Action, leave: Action, join: (channel: string) => string}} Actions what `join` says is wrong */

export class ChannelsView {
  #list = byId("channels");
  #menu = byId("menu-badge");
  #form = byId("join-form");
  #input = byId("join-name");
  #error = byId("join-error");
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();

  constructor(
    /** @type {Actions} */
    actions,
  ) {
    this.#list.addEventListener("click", (/** @type {any} */ event) => {
      const leave = event.target.closest("button[data-leave]");
      const open = event.target.closest("button[data-channel]");
      if (leave) actions.leave(leave.dataset.leave);
      else if (open) actions.open(open.dataset.channel);
    });
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit(actions.join);
    });
    this.#input.addEventListener("input", () => this.#complain(""));
  }

  /** Bring the list up to date; `fixed` channels cannot be left. */
  draw(/** @type {Room[]} */ rooms, /** @type {Room} */ current, /** @type {string[]} */ fixed) {
    for (const [channel, item] of this.#items) {
      if (rooms.some((room) => room.channel === channel)) continue;
      item.remove();
      this.#items.delete(channel);
    }
    for (const room of rooms) this.#drawItem(room, room === current, fixed.includes(room.channel));
    const elsewhere = rooms.reduce((sum, room) => sum + (room === current ? 0 : room.unread), 0);
    this.#menu.hidden = elsewhere === 0;
    this.#menu.textContent = elsewhere === 0 ? "" : badge(elsewhere);
  }

  #drawItem(/** @type {Room} */ room, /** @type {boolean} */ isOpen, /** @type {boolean} */ isFixed) {
    const item = this.#items.get(room.channel) ?? this.#newItem(room, isFixed);
    const button = /** @type {HTMLElement} */ (item.firstElementChild);
    const count = /** @type {HTMLElement} */ (button.lastElementChild);
    if (isOpen) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
    if (button.dataset.unread === String(room.unread)) return;
    button.dataset.unread = String(room.unread);
    count.replaceChildren(...(room.unread > 0 ? [badge(room.unread), spoken(" unread")] : []));
  }

  #newItem(/** @type {Room} */ room, /** @type {boolean} */ isFixed) {
    const name = make("span", { class: "name" }, room.title);
    const attributes = { type: "button", class: "channel", "data-channel": room.channel, title: room.title };
    const item = make("li", {}, make("button", attributes, icon("hash"), name, make("span", { class: "badge" })));
    const leave = { type: "button", class: "leave", "data-leave": room.channel, "aria-label": `Leave ${room.title}` };
    if (!isFixed) item.append(make("button", leave, icon("close")));
    this.#items.set(room.channel, item);
    this.#list.append(item);
    return item;
  }

  #submit(/** @type {(channel: string) => string} */ join) {
    const { channel, error } = chooseChannel(this.#input.value);
    const refusal = error || join(channel);
    this.#complain(refusal);
    if (refusal) this.#input.focus();
    else this.#input.value = "";
  }

  #complain(/** @type {string} */ error) {
    this.#error.textContent = error;
    this.#error.hidden = !error;
    this.#input.setAttribute("aria-invalid", String(Boolean(error)));
  }
}
