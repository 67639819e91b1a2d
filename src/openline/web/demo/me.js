/** Owns who "I" am: the chosen name, and the connections that this page has had. */

import { memberId } from "./names.js";

/** @typedef {import("./names.js").Member} Member */

export class Me {
  /** @type {Set<string>} */
  #connections = new Set();
  #line;

  constructor(/** @type {{connection: string | null, user: string | null}} */ line, /** @type {string} */ name) {
    this.#line = line;
    this.name = name;
  }

  /** What messages of mine carry until the server has seen them. */
  get author() {
    return { author: memberId({ connection: "", user: this.#line.user ?? this.name }), name: this.name };
  }

  /** Whether this very page speaks, through a connection it has or had: what it said before a break comes back. */
  isThisPage(/** @type {Member | undefined} */ member) {
    if (this.#line.connection) this.#connections.add(this.#line.connection);
    return member !== undefined && this.#connections.has(member.connection);
  }

  /** Whether it is me, in this window or in another one. */
  isMe(/** @type {Member | undefined} */ member) {
    if (member === undefined) return false;
    return this.isThisPage(member) || (member.user !== undefined && member.user === (this.#line.user ?? this.name));
  }
}
