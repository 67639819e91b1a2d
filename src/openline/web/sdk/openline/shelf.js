/** Owns the shelf: publications that outlive their page, in IndexedDB, each with one living page at most. */
/** @import * as T from "./types.js" */

import { newKey } from "./surroundings.js";

const NAME = "openline-outbox";
const STORE = "publications";
/** What other users left here, and nobody alive has, is kept up to so much. */
const OTHERS = { bytes: 1_048_576, entries: 1000 };

/** A page holds its lock as long as it lives; the browser gives it up when the page dies, however it dies. */
const lockOf = (/** @type {string} */ owner) => `${NAME} ${owner}`;

/** @implements {T.Shelf} */
export class Shelf {
  #indexedDB;
  #locks;
  #place;
  // Never used again: who does not hold the lock of a name is dead for good.
  #owner = newKey();
  /** @type {Promise<any> | undefined} */
  #db;
  #over = false;
  #leave = () => {};

  /** @param {any} window @param {string} place what is put here is found by pages that name the same */
  constructor({ indexedDB, navigator }, place) {
    this.#indexedDB = indexedDB;
    this.#locks = navigator?.locks;
    this.#place = place;
  }

  /** @param {any} window @param {string} place @returns {Promise<T.Shelf>} rejects where the browser does not let us */
  static async open(window, place) {
    const shelf = new Shelf(window, place);
    if (!shelf.#indexedDB || !shelf.#locks) throw new Error("there is no IndexedDB, or there are no Web Locks, here");
    try {
      await shelf.#hold();
      await shelf.#work("readonly", (store) => store.count());
    } catch (error) {
      shelf.stop();
      throw error;
    }
    return shelf;
  }

  /** @type {T.Shelf["add"]} */
  async add(record) {
    await this.#work("readwrite", (store) => {
      store.add(this.#placed(record));
      // A page that goes now is not there any more to see it done.
      store.transaction.commit?.();
    });
  }

  /** @type {T.Shelf["put"]} */
  async put(record) {
    const placed = this.#placed(record);
    await this.#work("readwrite", (store) => ifOf(this.#owner, store, record.key, () => store.put(placed)));
  }

  /** @type {T.Shelf["remove"]} */
  async remove(key) {
    await this.#work("readwrite", (store) => ifOf(this.#owner, store, key, () => store.delete(key)));
  }

  /** @type {T.Shelf["take"]} */
  async take(known, room) {
    /** @type {T.Placed[]} */
    const all = await this.#work("readonly", (store) => store.getAll());
    // Asked after the reading: who put something there held its lock by then, and if it does not now it is dead.
    const { held } = await this.#locks.query();
    const alive = new Set(held.map((/** @type {any} */ { name }) => name));
    const dead = new Set(all.map(({ owner }) => owner).filter((owner) => !alive.has(lockOf(owner))));
    return dead.size === 0 ? [] : this.#inherit(dead, known, room);
  }

  stop() {
    this.#over = true;
    this.#leave();
    // Behind everything that was asked for before.
    this.#db?.then((db) => db.close()).catch(() => {});
  }

  /**
   * Takes everything at once, for what the dead asked for last may be there only now, or another page be faster.
   *
   * @param {Set<string>} dead @param {ReadonlyMap<string, unknown>} known @param {T.Room} room
   */
  async #inherit(dead, known, room) {
    /** @type {T.Placed[]} */
    let taken = [];
    await this.#work("readwrite", (store) => {
      const asked = store.getAll();
      asked.onsuccess = () => {
        /** @type {T.Placed[]} */
        const left = asked.result.filter((/** @type {T.Placed} */ { owner }) => dead.has(owner));
        const [ours, others] = sorted(left, this.#place);
        const back = ours.filter(({ key }) => known.has(key));
        taken = [...back, ...within(room, ours.filter(({ key }) => !known.has(key)))];
        for (const record of taken) store.put({ ...record, owner: this.#owner });
        for (const { key } of others.slice(within(OTHERS, others).length)) store.delete(key);
      };
    });
    return taken;
  }

  /** @param {T.Kept} record */
  #placed = (record) => ({ ...record, place: this.#place, owner: this.#owner });

  #hold() {
    return new Promise((held, refused) => {
      const over = new Promise((leave) => (this.#leave = () => leave(undefined)));
      const hold = () => {
        held(undefined);
        return over;
      };
      this.#locks.request(lockOf(this.#owner), hold).catch(refused);
    });
  }

  /** @param {string} mode @param {(store: any) => any} work @returns {Promise<any>} when it is committed */
  async #work(mode, work) {
    if (this.#over) throw new Error("the page has left the shelf");
    const opening = (this.#db ??= open(this.#indexedDB));
    try {
      return await committed((await opening).transaction(STORE, mode), work);
    } catch (error) {
      // A browser may close it at any time: the next one opens it anew.
      if (this.#db === opening) this.#db = undefined;
      opening.then((db) => db.close()).catch(() => {});
      throw error;
    }
  }
}

/** @param {any} indexedDB @returns {Promise<any>} */
const open = (indexedDB) =>
  new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "key" });
    asked.onerror = () => reject(asked.error);
    asked.onsuccess = () => {
      asked.result.onversionchange = () => asked.result.close();
      resolve(asked.result);
    };
  });

/** @param {any} transaction @param {(store: any) => any} work gives the request whose result is wanted, if one is */
const committed = (transaction, work) =>
  new Promise((resolve, reject) => {
    transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB gave up"));
    const asked = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(asked?.result);
  });

/**
 * Goes on unless what lies under `key` is another page's.
 *
 * @param {string} owner @param {any} store @param {string} key @param {() => void} go
 */
function ifOf(owner, store, key, go) {
  const asked = store.get(key);
  asked.onsuccess = () => {
    if (!asked.result || asked.result.owner === owner) go();
  };
}

/** Those at `place`, oldest first, and others, newest first. @param {T.Placed[]} records @param {string} place */
function sorted(records, place) {
  const all = records.sort((one, other) => one.order - other.order);
  return [all.filter((record) => record.place === place), all.filter((record) => record.place !== place).reverse()];
}

/** @param {T.Room} room @param {T.Placed[]} records @returns {T.Placed[]} the first that fit */
function within({ bytes, entries }, records) {
  let sum = 0;
  const end = records.findIndex((record, at) => at >= entries || (sum += record.bytes) > bytes);
  return end < 0 ? records : records.slice(0, end);
}
