/** Owns a page's stay at the shelf: when it has one, what it puts there, and that it takes what nobody alive has. */
/** @import * as T from "./types.js" */

import { Shelf } from "./shelf.js";
import { SLOW_MS, inTime } from "./surroundings.js";

/** @implements {T.Stay} */
export class Stay {
  #clock;
  #window;
  #place;
  #guest;
  /** @type {T.Shelf | undefined} */
  #shelf;
  #visits = 0;
  #beginning = false;
  /** What was said last. @type {boolean | undefined} */
  #persists;

  /** @param {T.Clock} clock @param {any} window @param {string} place @param {T.Guest} guest */
  constructor(clock, window, place, guest) {
    this.#clock = clock;
    this.#window = window;
    this.#place = place;
    this.#guest = guest;
  }

  /** @type {T.Stay["begin"]} */
  async begin() {
    const visit = (this.#visits += 1);
    this.#beginning = true;
    const opening = Shelf.open(this.#window, this.#place);
    try {
      // Some browsers never open a database, and do not say so either.
      const shelf = await inTime(this.#clock, opening, SLOW_MS);
      if (visit !== this.#visits) return shelf.stop();
      this.#shelf = shelf;
      await this.#collect(shelf);
    } catch (error) {
      opening.then((shelf) => shelf.stop()).catch(() => {});
      if (visit !== this.#visits) return;
      this.#shelf = undefined;
      this.#say(error);
    }
    if (visit !== this.#visits) return;
    this.#beginning = false;
    await this.#guest.settled();
    if (visit === this.#visits && this.#persists === undefined) this.#say();
  }

  /** @type {T.Stay["end"]} */
  end() {
    this.#visits += 1;
    this.#shelf?.stop();
    this.#shelf = this.#persists = undefined;
  }

  /** @type {T.Stay["look"]} */
  async look() {
    const shelf = this.#shelf;
    if (this.#beginning) return;
    // What was refused once may be granted now.
    if (!shelf) return this.begin();
    await this.#collect(shelf).catch((error) => shelf === this.#shelf && this.#say(error));
    if (shelf === this.#shelf) await this.#guest.settled();
  }

  /** @type {T.Stay["put"]} */
  async put(entry) {
    const shelf = this.#shelf;
    if (!shelf) return;
    const { key, text, bytes, at, order, tried, user } = entry;
    try {
      await shelf.put({ key, text, bytes, at, order, tried, user });
      entry.shelf = shelf;
      // The first word on it comes when everything is there.
      if (shelf === this.#shelf && this.#persists === false) this.#say();
    } catch (error) {
      if (shelf !== this.#shelf) return;
      // What lies there as never tried would be published once more by the next page.
      await shelf.remove(key).catch(() => {});
      entry.shelf = undefined;
      this.#say(error);
    }
  }

  /** @type {T.Stay["remove"]} */
  remove({ key }) {
    this.#shelf?.remove(key).catch(() => {});
  }

  /** @param {T.Shelf} shelf */
  async #collect(shelf) {
    const { known, room } = this.#guest.asks();
    const records = await shelf.take(known, room);
    if (shelf !== this.#shelf) return;
    for (const { key } of records) {
      const entry = known.get(key);
      if (entry) entry.shelf = shelf;
    }
    const lost = [...known.values()].filter((entry) => entry.shelf && entry.shelf !== shelf);
    this.#guest.took(shelf, records.filter(({ key }) => !known.has(key)), lost);
  }

  /** Whether the page may go without losing anything; told when it changes. @param {unknown} [error] why not */
  #say(error) {
    const persists = error === undefined;
    if (persists === this.#persists) return;
    this.#persists = persists;
    this.#guest.tell("$outbox", persists ? { persists } : { persists, reason: String(error) });
  }
}
