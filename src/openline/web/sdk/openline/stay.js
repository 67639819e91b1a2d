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
  /** While there is a shelf, or one may come. @type {Promise<void> | undefined} */
  #entering;
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
    this.#entering = this.#enter(visit);
    try {
      // Some browsers never open a database, and do not say so either. What comes late is welcome all the same.
      await inTime(this.#clock, this.#entering, SLOW_MS);
    } catch (error) {
      if (visit !== this.#visits) return;
      this.#say(error);
      this.#guest.settled();
    }
  }

  /** @type {T.Stay["end"]} */
  end() {
    this.#visits += 1;
    this.#shelf?.stop();
    this.#shelf = this.#entering = this.#persists = undefined;
  }

  /** @type {T.Stay["look"]} */
  async look() {
    // What was refused once may be granted now.
    if (!this.#entering) return this.begin();
    if (this.#shelf) await this.#collect(this.#shelf).catch((error) => this.#say(error));
  }

  /** @type {T.Stay["put"]} */
  async put(entry, tried = entry.tried) {
    if (!this.#shelf) return entry.shelf === undefined;
    try {
      return await inTime(this.#clock, this.#write(this.#shelf, entry, tried), SLOW_MS);
    } catch (error) {
      this.#say(error);
      return true;
    }
  }

  /** @type {T.Stay["remove"]} */
  remove({ key }) {
    this.#shelf?.remove(key).catch(() => {});
  }

  /** @param {number} visit */
  async #enter(visit) {
    try {
      const shelf = await Shelf.open(this.#window, this.#place);
      if (visit !== this.#visits) return shelf.stop();
      this.#shelf = shelf;
      await this.#collect(shelf);
    } catch (error) {
      if (visit === this.#visits) this.#shelf?.stop();
      if (visit === this.#visits) this.#shelf = this.#entering = undefined;
      throw error;
    }
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
    const entries = [...this.#guest.asks().known.values()];
    await this.#guest.settled();
    if (shelf === this.#shelf && entries.every((entry) => entry.shelf === shelf)) this.#say();
  }

  /** Whether it may be sent now. @param {T.Shelf} shelf @param {T.Entry} entry @param {number | undefined} tried */
  async #write(shelf, entry, tried) {
    const { key, text, bytes, at, order, user, asked } = entry;
    const record = { key, text, bytes, at, order, tried, user };
    entry.asked = true;
    try {
      await (asked ? shelf.put(record) : shelf.add(record));
      entry.shelf = shelf;
      // The first word on it comes when everything is there.
      if (shelf === this.#shelf && this.#persists === false) this.#say();
    } catch (error) {
      if (shelf === this.#shelf) this.#say(error);
      await shelf.remove(key).then(() => (entry.shelf = undefined)).catch(() => {});
      // What stands there as never tried would be published once more by the next page.
      return entry.shelf === undefined;
    }
    return true;
  }

  /** Whether the page may go without losing anything; told when it changes. @param {unknown} [error] why not */
  #say(error) {
    const persists = error === undefined;
    if (persists === this.#persists) return;
    this.#persists = persists;
    this.#guest.tell("$outbox", persists ? { persists } : { persists, reason: String(error) });
  }
}
