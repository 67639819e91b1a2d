/** Owns the field in which messages are written: its height, its limit, drafts, and telling that somebody types. */

import { byId } from "./elements.js";

export const LIMIT = 4000;
const COUNT_FROM = 3600;

/** @typedef {import("./room.js").Room} Room */

export class Composer {
  #form = byId("composer");
  #field = byId("text");
  #label = byId("text-label");
  #button = byId("send");
  #counter = byId("counter");
  #hint = byId("hint");
  /** @type {Room | null} */
  #room = null;
  #onSend;

  /** `onSend` comes before the text goes out: the list follows what one says oneself. */
  constructor(/** @type {() => void} */ onSend) {
    this.#onSend = onSend;
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#pressed(event));
    this.#field.addEventListener("input", () => this.#typed());
    window.addEventListener("resize", () => this.#fit());
  }

  /** Write into another room, going on with what was left there. */
  open(/** @type {Room} */ room) {
    if (this.#room) this.#room.draft = this.#field.value;
    this.#room = room;
    this.#field.value = room.draft;
    this.#field.placeholder = `Message #${room.title}`;
    this.#label.textContent = `Message to ${room.title}`;
    this.#measure();
  }

  /** Take the focus. On a touch screen only when `always`: the keyboard would cover what one came to read. */
  focus({ always = false } = {}) {
    if (always || !matchMedia("(pointer: coarse)").matches) this.#field.focus({ preventScroll: true });
  }

  #pressed(/** @type {KeyboardEvent} */ event) {
    // 229: an input method is at work, and Enter takes its suggestion (Safari says so in this way only).
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#send();
  }

  #typed() {
    this.#measure();
    if (this.#field.value.trim()) this.#room?.tellTyping();
  }

  #send() {
    const text = this.#text;
    if (!this.#room || !isSendable(text)) return;
    this.#field.value = "";
    this.#room.draft = "";
    this.#measure();
    this.#onSend();
    this.#room.send(text);
    this.#field.focus({ preventScroll: true });
  }

  /** What would be sent: without empty lines in front and blanks at the end. */
  get #text() {
    return this.#field.value.replace(/^\s*\n/, "").trimEnd();
  }

  #measure() {
    const length = [...this.#text].length;
    this.#button.disabled = !isSendable(this.#text);
    this.#counter.hidden = length < COUNT_FROM;
    this.#hint.hidden = length >= COUNT_FROM;
    this.#counter.textContent = length > LIMIT ? `${length - LIMIT} too many` : `${LIMIT - length} left`;
    this.#counter.dataset.over = String(length > LIMIT);
    this.#field.setAttribute("aria-invalid", String(length > LIMIT));
    this.#fit();
  }

  /** As high as the text. The form keeps its height while that is measured, or the message list would be moved. */
  #fit() {
    this.#form.style.minHeight = `${this.#form.offsetHeight}px`;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#form.style.minHeight = "";
  }
}

function isSendable(/** @type {string} */ text) {
  return text.trim() !== "" && [...text].length <= LIMIT;
}
