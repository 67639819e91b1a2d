/** Owns the page: it asks for a name, opens the line, joins the channels, and lets the views follow. */

import { connect } from "/openline.js";
import { ChannelsView } from "./channels_view.js";
import { Composer } from "./composer.js";
import { setUpDoors } from "./doors.js";
import { Drawers } from "./drawers.js";
import { byId, paintAvatar } from "./elements.js";
import { Me } from "./me.js";
import { recall, remember } from "./memory.js";
import { MessageView } from "./message_view.js";
import { askName, keepName, knownName } from "./name_dialog.js";
import { chooseChannel, PREFIX } from "./names.js";
import { PeopleView } from "./people_view.js";
import { Room } from "./room.js";
import { pageTitle, typingSentence } from "./sentences.js";
import { StatusView } from "./status_view.js";

const OFFERED = ["lobby", "random", "help"].map((title) => PREFIX + title);
const JOINED_KEY = "openline.chat.channels";
const MOST_CHANNELS = 30;
const UNSEEN_MS = 200;
const REFUSED = 4401; // spec/protocol.md, section 5

class Chat {
  /** @type {Room[]} */
  #rooms = [];
  #line;
  #me;
  #drawers = new Drawers();
  #composer = new Composer(() => this.#messages.follow());
  #messages = new MessageView(() => this.#composer.focus());
  #people = new PeopleView();
  #channels;
  /** @type {Room} */
  #current;
  /** @type {{frame: number, timer: number} | null} */
  #drawing = null;

  constructor(/** @type {string} */ name) {
    this.#line = connect(undefined, { token: () => name, outbox: { persist: name } });
    this.#me = new Me(this.#line, name);
    new StatusView(this.#line);
    this.#channels = new ChannelsView({
      open: (channel) => this.#goTo(channel),
      join: (channel) => this.#join(channel),
      leave: (channel) => this.#leave(channel),
    });
    const wanted = chooseChannel(new URLSearchParams(location.search).get("channel")).channel || OFFERED[0];
    for (const channel of new Set([...OFFERED, ...joinedBefore(), wanted])) this.#subscribe(channel);
    this.#current = this.#rooms[0];
    this.#open(this.#find(wanted) ?? this.#current);
    this.#listen();
  }

  #listen() {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#current.open();
      this.#draw();
    });
    this.#line.on(
      "$status",
      (/** @type {any} */ { code }) => code === REFUSED && rename("", "The server did not accept this name."),
    );
    byId("me").addEventListener("click", () => rename(this.#me.name, ""));
    paintAvatar(byId("me-avatar"), this.#me.author.author, this.#me.name);
    byId("me-name").textContent = this.#me.name;
    setUpDoors(() => this.#current.channel);
  }

  #subscribe(/** @type {string} */ channel) {
    const room = new Room(this.#line, channel, this.#me, {
      changed: () => this.#schedule(),
      heard: (room, message) => room === this.#current && this.#messages.heard(message),
      isReading: (room) => room === this.#current && !document.hidden,
      isFollowing: (room) => room !== this.#current || this.#messages.following,
      now: () => Date.now(),
    });
    this.#rooms.push(room);
    return room;
  }

  #find(/** @type {string} */ channel) {
    return this.#rooms.find((room) => room.channel === channel);
  }

  #goTo(/** @type {string} */ channel) {
    const room = this.#find(channel);
    if (room && room !== this.#current) this.#open(room);
    this.#drawers.close();
    this.#composer.focus();
  }

  #open(/** @type {Room} */ room) {
    this.#current?.close();
    this.#current = room;
    room.open();
    byId("channel-title").textContent = room.title;
    byId("second-window").setAttribute("href", `/?name=&channel=${encodeURIComponent(room.title)}`);
    this.#composer.open(room);
    this.#messages.open(room);
    rememberInAddress(room.title);
    this.#draw();
  }

  /** Join a channel by hand; what is said when that is not possible. */
  #join(/** @type {string} */ channel) {
    if (!this.#find(channel) && this.#rooms.length >= MOST_CHANNELS) {
      return `At most ${MOST_CHANNELS} channels at once: leave one first.`;
    }
    if (!this.#find(channel)) this.#subscribe(channel);
    this.#rememberJoined();
    this.#goTo(channel);
    return "";
  }

  #leave(/** @type {string} */ channel) {
    const room = this.#find(channel);
    if (!room) return;
    room.leave();
    this.#rooms = this.#rooms.filter((other) => other !== room);
    this.#rememberJoined();
    if (room === this.#current) this.#open(this.#rooms[0]);
    this.#schedule();
    this.#composer.focus();
  }

  #rememberJoined() {
    const joined = this.#rooms.map((room) => room.channel).filter((channel) => !OFFERED.includes(channel));
    remember("browser", JOINED_KEY, joined.join(" "));
  }

  /** Draw once per frame, however much happens; a page that nobody sees has no frames, but a title. */
  #schedule() {
    if (this.#drawing) return;
    const draw = () => this.#draw();
    this.#drawing = { frame: requestAnimationFrame(draw), timer: setTimeout(draw, UNSEEN_MS) };
  }

  #draw() {
    if (this.#drawing) {
      cancelAnimationFrame(this.#drawing.frame);
      clearTimeout(this.#drawing.timer);
      this.#drawing = null;
    }
    const room = this.#current;
    if (!room) return;
    const unread = this.#rooms.reduce((sum, { unread }) => sum + unread, 0);
    document.title = pageTitle(unread, room.title);
    this.#channels.draw(this.#rooms, room, OFFERED);
    this.#people.draw(room, this.#me);
    this.#messages.draw();
    byId("main").dataset.channel = room.channel;
    byId("main").dataset.state = room.state;
    byId("typing-text").textContent = typingSentence(room.typing);
    byId("typing").dataset.active = String(room.typing.length > 0);
  }
}

/** @returns {string[]} the channels that were joined by hand the last time */
function joinedBefore() {
  const channels = recall("browser", JOINED_KEY)
    .split(" ")
    .map((text) => chooseChannel(text).channel);
  return channels.filter(Boolean).slice(0, MOST_CHANNELS - OFFERED.length - 1);
}

function rememberInAddress(/** @type {string} */ title) {
  const address = new URL(location.href);
  address.searchParams.set("channel", title);
  history.replaceState(null, "", address);
}

/** Come back under another name: a new name is a new connection, so the page starts over. */
async function rename(/** @type {string} */ current, /** @type {string} */ error) {
  const name = await askName({ current, error });
  if (name === null) {
    byId("me").focus();
    return;
  }
  if (name === current) return;
  keepName(name);
  const address = new URL(location.href);
  address.searchParams.delete("name");
  location.replace(address);
}

async function start() {
  let name = knownName();
  const isAsked = name === "";
  if (isAsked) name = (await askName()) ?? "";
  if (isAsked) keepName(name);
  new Chat(name);
  byId("text").focus({ preventScroll: true });
}

start();
