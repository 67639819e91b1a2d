/** Owns who is in a channel: connections as the server names them, people as the page shows them. */

import { memberId, memberName } from "./names.js";

/** @typedef {import("./names.js").Member} Member */
/** @typedef {{id: string, name: string, guest: boolean, windows: number, you: boolean}} Person */

export class People {
  /** @type {Map<string, Member>} */
  #members = new Map();
  #count = 0;

  /** Start over with what the server says now. */
  reset(/** @type {Iterable<Member>} */ members, /** @type {number | undefined} */ count) {
    this.#members = new Map();
    for (const member of members) this.#members.set(member.connection, member);
    this.#count = count ?? this.#members.size;
  }

  /** Take somebody in; true when this person was not here through another connection. */
  joined(/** @type {Member} */ member, /** @type {number | undefined} */ count) {
    const known = this.#members.has(member.connection) || this.#has(memberId(member));
    this.#members.set(member.connection, member);
    this.#count = count ?? this.#members.size;
    return !known;
  }

  /** Let a connection go; true when the person is gone with it. */
  left(/** @type {Member} */ member, /** @type {number | undefined} */ count) {
    const known = this.#members.delete(member.connection);
    this.#count = count ?? this.#members.size;
    return known && !this.#has(memberId(member));
  }

  /** How many connections are here that the list does not name: it ends after a thousand. */
  get unnamed() {
    return Math.max(0, this.#count - this.#members.size);
  }

  /**
   * People by name, each once, oneself first.
   * @param {(member: Member) => boolean} isMe
   * @returns {Person[]}
   */
  list(isMe) {
    /** @type {Map<string, Person>} */
    const people = new Map();
    for (const member of this.#members.values()) {
      const id = memberId(member);
      const person = people.get(id) ?? newPerson(id, member);
      person.windows += 1;
      person.you ||= isMe(member);
      people.set(id, person);
    }
    return [...people.values()].sort(byYouAndName);
  }

  #has(/** @type {string} */ id) {
    for (const member of this.#members.values()) if (memberId(member) === id) return true;
    return false;
  }
}

/** @returns {Person} */
function newPerson(/** @type {string} */ id, /** @type {Member} */ member) {
  return { id, name: memberName(member), guest: member.user === undefined, windows: 0, you: false };
}

function byYouAndName(/** @type {Person} */ a, /** @type {Person} */ b) {
  return Number(b.you) - Number(a.you) || Number(a.guest) - Number(b.guest) || a.name.localeCompare(b.name);
}
