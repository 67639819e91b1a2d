/** Owns one joined channel: its subscription, its timeline, who is there and types, and what is unread. */

import { channelTitle, memberName } from "./names.js";
import { People } from "./people.js";
import { Timeline, textOf } from "./timeline.js";

export const PAGE = 50;
const AFTER_GAP = 100;

/**
 * @typedef {import("./names.js").Member} Member
 * @typedef {import("./timeline.js").Message} Message
 * @typedef {import("./timeline.js").Publication} Publication
 * @typedef {{
 *   changed: (room: Room) => void,
 *   heard: (room: Room, message: Message) => void,
 *   isReading: (room: Room) => boolean,
 *   isFollowing: (room: Room) => boolean,
 *   now: () => number,
 * }} Page
 *   What a room asks of the page: changed, something to draw; heard, a message of somebody else came in just now;
 *   isReading, whether it is before the reader's eyes; isFollowing, whether its end is.
 */

export class Room {
  timeline = new Timeline();
  people = new People();
  /** @type {"joining" | "ready" | "refused"} */
  state = "joining";
  /** Why it was refused. */
  error = "";
  unread = 0;
  /** @type {string | null} the first message that was unread when the room was opened */
  divider = null;
  /** @type {string[]} */
  typing = [];
  /** What stands in the text field, unsent. */
  draft = "";
  /** @type {"unknown" | "some" | "none" | "loading"} */
  older = "unknown";

  #chat;
  #me;
  #page;
  /** @type {string | null} */
  #firstUnread = null;
  /** @type {string | null} where the oldest page of history began */
  #pageStart = null;
  /** @type {Member[]} */
  #typists = [];

  constructor(
    /** @type {any} */ line,
    /** @type {string} */ channel,
    /** @type {import("./me.js").Me} */ me,
    /** @type {Page} */ page,
  ) {
    this.channel = channel;
    this.title = channelTitle(channel);
    this.#me = me;
    this.#page = page;
    this.#chat = line.subscribe(channel, { last: PAGE, presence: true });
    this.#listen();
    this.#chat.ready.then(
      () => this.#joined(),
      (/** @type {any} */ error) => this.#refused(error),
    );
  }

  /** The reader is here: nothing is unread, and a line shows what was. */
  open() {
    this.divider = this.#firstUnread;
    this.#read();
  }

  /** The reader goes elsewhere. */
  close() {
    this.divider = null;
    this.#read();
  }

  /** Say something: shown at once, settled when the server has taken it. */
  send(/** @type {string} */ text) {
    const message = this.timeline.send(text, this.#page.now(), this.#me.author);
    this.divider = null;
    return this.#publish(message);
  }

  /** Say once more what did not arrive. */
  async retry(/** @type {string} */ key) {
    const message = this.timeline.retry(key, this.#page.now());
    if (message) await this.#publish(message);
  }

  /** Give up what did not arrive. */
  discard(/** @type {string} */ key) {
    this.timeline.remove(key);
    this.#page.changed(this);
  }

  /** Tell the others that somebody types here. */
  tellTyping() {
    if (this.state === "ready") this.#chat.typing();
  }

  /** Read one more page of what lies before everything shown. */
  async loadOlder() {
    const before = this.#pageStart ?? this.timeline.oldest;
    if (this.older === "loading" || before === null) return;
    this.older = "loading";
    this.#page.changed(this);
    try {
      const { publications, more } = await this.#chat.history({ limit: PAGE, before });
      this.#pageStart = publications[0]?.position ?? before;
      this.#merge(publications, true);
      this.older = more ? "some" : "none";
    } catch {
      this.older = "some"; // the button stays: pressing it again is the way on
    }
    this.#page.changed(this);
  }

  /** Leave the channel. */
  leave() {
    this.#chat.unsubscribe();
  }

  #listen() {
    const chat = this.#chat;
    chat.on("message", (/** @type {unknown} */ _, /** @type {any} */ event) => this.#arrived(event));
    chat.on("$presence", (/** @type {any} */ { members, count }) => this.#present(members, count));
    chat.on("$joined", (/** @type {any} */ { member, count }) => this.#came(member, count));
    chat.on("$left", (/** @type {any} */ { member, count }) => this.#went(member, count));
    chat.on("$typing", (/** @type {any} */ members) => this.#types([...valuesOf(members)]));
    chat.on("$gap", () => this.#gap());
    chat.on("$restored", (/** @type {any} */ publication) => this.#restored(publication));
    chat.on("$error", (/** @type {any} */ error) => this.#refused(error));
    chat.on("$unsubscribed", (/** @type {any} */ { reason }) => this.#refused({ message: reason }));
  }

  #joined() {
    this.state = "ready";
    this.#present(this.#chat.members, this.#chat.count);
    const shown = this.timeline.entries.filter((entry) => entry.kind === "message").length;
    if (this.older === "unknown" && shown >= PAGE) this.older = "some";
    this.#page.changed(this);
  }

  #refused(/** @type {any} */ error) {
    this.state = "refused";
    this.error = reasonOf(error);
    this.#page.changed(this);
  }

  #arrived(/** @type {Publication & {recovered?: boolean}} */ event) {
    const history = this.state === "joining";
    const own = this.#me.isMe(event.from);
    const at = history || event.recovered ? null : this.#page.now();
    const message = this.timeline.add(event, { at, own, echo: this.#me.isThisPage(event.from) });
    if (!message) return;
    if (event.from) this.#types(this.#typists.filter((member) => member.connection !== event.from?.connection));
    if (!history && !own) this.#heard(message);
    if (this.#page.isFollowing(this) && this.timeline.trim()) this.#forgot();
    this.#page.changed(this);
  }

  #heard(/** @type {Message} */ message) {
    if (!this.#page.isReading(this)) {
      this.unread += 1;
      this.#firstUnread ??= message.key;
    }
    this.#page.heard(this, message);
  }

  /** What was trimmed can be read again from the server. */
  #forgot() {
    this.older = "some";
    this.#pageStart = null;
  }

  #read() {
    this.unread = 0;
    this.#firstUnread = null;
    this.#page.changed(this);
  }

  #present(/** @type {any} */ members, /** @type {number | undefined} */ count) {
    this.people.reset(valuesOf(members), count);
    this.#page.changed(this);
  }

  #came(/** @type {Member} */ member, /** @type {number | undefined} */ count) {
    const isNew = this.people.joined(member, count);
    if (isNew && !this.#me.isMe(member)) this.timeline.presence(memberName(member), true);
    this.#page.changed(this);
  }

  #went(/** @type {Member} */ member, /** @type {number | undefined} */ count) {
    const isGone = this.people.left(member, count);
    if (isGone && !this.#me.isMe(member)) this.timeline.presence(memberName(member), false);
    this.#types(this.#typists.filter((typist) => typist.connection !== member.connection));
    this.#page.changed(this);
  }

  #types(/** @type {Member[]} */ members) {
    this.#typists = members;
    const others = members.filter((member) => !this.#me.isMe(member));
    this.typing = [...new Set(others.map(memberName))];
    this.#page.changed(this);
  }

  /** Something was lost: say so where it happened, and take what the history still has. */
  async #gap() {
    this.timeline.gap();
    this.#page.changed(this);
    try {
      const { publications, more } = await this.#chat.history({ limit: AFTER_GAP });
      this.#merge(publications, false);
      if (more) this.older = "some";
    } catch {
      return; // the line in the list has said what there is to say
    }
    this.#page.changed(this);
  }

  #merge(/** @type {Publication[]} */ publications, /** @type {boolean} */ older) {
    for (const publication of publications) {
      if (publication.type !== "message") continue;
      const { from } = publication;
      // What is still on its way cannot lie in front of everything shown, so an older page settles nothing.
      const echo = !older && this.#me.isThisPage(from);
      this.timeline.add(publication, { own: this.#me.isMe(from), echo, older });
    }
  }

  /** This person wrote it on an earlier page, and it is still on its way. */
  #restored(/** @type {{type: string, payload: unknown, at: number, answer: Promise<any>}} */ publication) {
    if (publication.type !== "message") return;
    const text = textOf(publication.payload, undefined);
    this.#follow(this.timeline.send(text, publication.at, this.#me.author), publication.answer);
  }

  #publish(/** @type {Message} */ message) {
    return this.#follow(message, this.#chat.publish("message", message.text));
  }

  /** Show what becomes of a message that is on its way. */
  async #follow(/** @type {Message} */ message, /** @type {Promise<any>} */ answer) {
    this.#page.changed(this);
    try {
      const { position } = await answer;
      // It may have waited for days: the others read it now.
      message.at = this.#page.now();
      this.timeline.acknowledge(message.key, position ?? null);
    } catch (error) {
      this.#failed(message, error);
    }
    this.#page.changed(this);
  }

  #failed(/** @type {Message} */ message, /** @type {any} */ error) {
    // Another tab has it now, and what it publishes comes in like everything else.
    if (error?.code === "elsewhere") this.timeline.remove(message.key);
    else if (error?.code === "unavailable") this.timeline.fail(message.key, "This may not have arrived.");
    else this.timeline.fail(message.key, `Not sent: ${reasonOf(error)}`);
  }
}

/** @returns {Iterable<Member>} the members of a list or of a map by connection */
function valuesOf(/** @type {Iterable<Member> | Map<string, Member> | undefined} */ members) {
  return members instanceof Map ? members.values() : (members ?? []);
}

function reasonOf(/** @type {any} */ error) {
  return String(error?.message || error?.code || "unknown reason");
}
