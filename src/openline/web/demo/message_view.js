/** Owns the message list on the page: its rows, where it is scrolled to, and what is said to screen readers. */

import { avatar, byId, colourOf, icon, make, spoken } from "./elements.js";
import { rowsOf } from "./rows.js";
import { clockTime } from "./sentences.js";

const NEAR_END = 48;
const NEAR_START = 80;
const SPOKEN_LINES = 12;
const SPOKEN_CHARACTERS = 300;

/** @typedef {import("./room.js").Room} Room */
/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./timeline.js").Message} Message */

export class MessageView {
  #scroller = byId("scroller");
  #list = byId("messages");
  #older = byId("older");
  #start = byId("start");
  #empty = byId("empty");
  #pill = byId("newer");
  #announcer = byId("announcer");
  /** @type {Map<string, {element: HTMLElement, looks: string}>} */
  #rows = new Map();
  /** @type {Room | null} */
  #room = null;
  #missed = 0;
  #following = true;
  #top = 0;
  #height = 0;
  #onDone;

  /** `onDone` gives the focus away when the button under it vanishes. */
  constructor(/** @type {() => void} */ onDone) {
    this.#onDone = onDone;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#older.addEventListener("click", () => this.#room?.loadOlder());
    this.#pill.addEventListener("click", () => this.follow());
    this.#list.addEventListener("click", (/** @type {Event} */ event) => this.#clicked(event));
    const sizes = new ResizeObserver(() => this.#following && this.#toEnd());
    sizes.observe(this.#scroller);
    sizes.observe(this.#list);
  }

  /** Whether the newest message is before the reader's eyes. */
  get following() {
    return this.#following;
  }

  /** Show another room, from its first unread message on. */
  open(/** @type {Room} */ room) {
    this.#room = room;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#announcer.replaceChildren();
    this.#missed = 0;
    this.#following = true;
    this.draw();
    const divider = room.divider && this.#rows.get("new")?.element;
    if (divider) divider.scrollIntoView({ block: "center" });
    this.#scrolled();
  }

  /** Go to the newest message and stay there. */
  follow() {
    this.#following = true;
    this.#missed = 0;
    this.#toEnd();
    this.#drawPill();
    this.#onDone();
  }

  /** Bring the list up to date; a reader in the middle of it keeps their place. */
  draw() {
    const room = this.#room;
    if (!room) return;
    const anchor = this.#following ? null : this.#firstVisible();
    const top = anchor?.offsetTop ?? 0;
    this.#drawRows(rowsOf(room.timeline.entries, room.divider));
    this.#drawEdges(room);
    if (this.#following) this.#toEnd();
    else if (anchor?.isConnected) this.#scrollTo(this.#scroller.scrollTop + anchor.offsetTop - top);
    this.#drawPill();
  }

  /** Somebody else's message has just come in: say it, and count it for a reader who looks elsewhere in the list. */
  heard(/** @type {Message} */ message) {
    if (!this.#following) this.#missed += 1;
    const text = [...message.text].slice(0, SPOKEN_CHARACTERS).join("");
    this.#announcer.append(make("p", {}, `${message.name}: ${text}`));
    while (this.#announcer.childElementCount > SPOKEN_LINES) this.#announcer.firstElementChild?.remove();
  }

  #drawRows(/** @type {Row[]} */ rows) {
    const wanted = new Set(rows.map((row) => row.key));
    for (const [key, { element }] of this.#rows) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    let cursor = this.#list.firstElementChild;
    for (const row of rows) {
      const element = this.#drawRow(row);
      if (element === cursor) cursor = cursor.nextElementSibling;
      else this.#list.insertBefore(element, cursor);
    }
  }

  #drawRow(/** @type {Row} */ row) {
    const looks = looksOf(row);
    const drawn = this.#rows.get(row.key);
    if (drawn?.looks === looks) return drawn.element;
    const element = drawn?.element ?? make("li", { "data-key": row.key, "data-kind": row.kind });
    if (row.kind === "message") fillMessage(element, row);
    else element.replaceChildren(make("span", {}, row.text));
    this.#rows.set(row.key, { element, looks });
    return element;
  }

  #drawEdges(/** @type {Room} */ room) {
    const isEmpty = this.#list.childElementCount === 0;
    this.#older.hidden = room.older !== "some" && room.older !== "loading";
    // Not disabled: that would take the focus from whoever has just pressed it.
    this.#older.setAttribute("aria-disabled", String(room.older === "loading"));
    this.#older.textContent = room.older === "loading" ? "Loading…" : "Load older messages";
    this.#start.hidden = room.older !== "none";
    this.#scroller.setAttribute("aria-busy", String(room.state === "joining"));
    this.#empty.hidden = !isEmpty;
    if (isEmpty) drawEmpty(this.#empty, room);
  }

  #drawPill() {
    this.#pill.hidden = this.#following;
    const count = this.#missed;
    const text = count === 0 ? "Jump to the newest" : count === 1 ? "1 new message" : `${count} new messages`;
    if (this.#pill.dataset.count === String(count) && this.#pill.childElementCount > 0) return;
    this.#pill.dataset.count = String(count);
    this.#pill.replaceChildren(icon("down"), make("span", {}, text));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    // Only the reader who goes up lets go of the end: a text field that grows moves it away too.
    const isReader = clientHeight === this.#height && scrollTop < this.#top;
    if (scrollHeight - clientHeight - scrollTop < NEAR_END) this.#following = true;
    else if (isReader) this.#following = false;
    this.#top = scrollTop;
    this.#height = clientHeight;
    if (this.#following) this.#missed = 0;
    this.#drawPill();
    const canScroll = scrollHeight > clientHeight;
    if (canScroll && scrollTop < NEAR_START && this.#room?.older === "some") this.#room.loadOlder();
  }

  #clicked(/** @type {Event} */ event) {
    const button = /** @type {Element} */ (event.target).closest("button[data-action]");
    const key = button?.closest("li")?.dataset.key;
    if (!button || !key || !this.#room) return;
    if (button.getAttribute("data-action") === "retry") this.#room.retry(key);
    else this.#room.discard(key);
    this.#onDone();
  }

  #toEnd() {
    this.#scrollTo(this.#scroller.scrollHeight);
  }

  #scrollTo(/** @type {number} */ top) {
    this.#scroller.scrollTop = top;
    this.#top = this.#scroller.scrollTop;
  }

  /** @returns {HTMLElement | undefined} */
  #firstVisible() {
    const top = this.#scroller.scrollTop;
    return [...this.#list.children].find((row) => row.offsetTop + row.offsetHeight > top);
  }
}

/** All that a row's appearance depends on. */
function looksOf(/** @type {Row} */ row) {
  if (row.kind !== "message") return row.text;
  const { state, error, at } = row.entry;
  return [row.head, row.tail, state, error, at].join("|");
}

function fillMessage(/** @type {HTMLElement} */ element, /** @type {Row & {kind: "message"}} */ { entry, head, tail }) {
  element.className = "message";
  Object.assign(element.dataset, { author: entry.name, state: entry.state, own: entry.own, head, tail });
  if (entry.position) element.dataset.position = entry.position;
  const text = make("p", { class: "text", dir: "auto" }, entry.text);
  const author = make("bdi", { class: `author ${colourOf(entry.author)}` }, entry.own ? "You" : entry.name);
  const byline = make("p", { class: "byline" }, author);
  if (entry.at !== null && !entry.own) byline.append(" ", timeOf(entry.at));
  if (!head || entry.own) byline.className = "spoken";
  const body = make("div", { class: "body" }, byline, text);
  if (entry.own) body.append(...footOf(entry, tail));
  element.replaceChildren(...(entry.own ? [] : [head ? avatar(entry.author, entry.name) : make("span")]), body);
}

/** What stands under a message of one's own: its time, and whether it has arrived. */
function footOf(/** @type {Message} */ entry, /** @type {boolean} */ tail) {
  if (entry.state === "failed") return [failureOf(entry)];
  if (!tail || entry.at === null) return [];
  const pending = entry.state === "pending";
  const mark = pending
    ? [icon("clock"), "Sending…"]
    : [timeOf(entry.at), ...(entry.local ? [icon("check"), spoken("Sent")] : [])];
  return [make("p", { class: "foot" }, ...mark)];
}

function failureOf(/** @type {Message} */ entry) {
  const retry = make("button", { type: "button", class: "link", "data-action": "retry" }, "Retry");
  const discard = make("button", { type: "button", class: "link", "data-action": "discard" }, "Remove");
  return make(
    "p",
    { class: "foot failure", role: "alert" },
    icon("alert"),
    make("span", {}, entry.error),
    retry,
    discard,
  );
}

function timeOf(/** @type {number} */ at) {
  return make("time", { datetime: new Date(at).toISOString() }, clockTime(at));
}

function drawEmpty(/** @type {HTMLElement} */ element, /** @type {Room} */ room) {
  const [title, text] = EMPTY[room.state](room);
  element.dataset.state = room.state;
  element.replaceChildren(
    icon(room.state === "refused" ? "alert" : "bubble"),
    make("h2", {}, title),
    make("p", {}, text),
  );
}

const EMPTY = {
  joining: (/** @type {Room} */ room) => [`Joining #${room.title}…`, "What was said here before appears in a moment."],
  ready: (/** @type {Room} */ room) => [
    `It is quiet in #${room.title}`,
    "Say something, or open a second window and talk to yourself.",
  ],
  refused: (/** @type {Room} */ room) => [`#${room.title} cannot be joined`, room.error],
};
