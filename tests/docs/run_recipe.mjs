// Runs the recipe in a file for as long as it is let: node run_recipe.mjs FILE SERVER
// Beside what it prints it says, in lines that begin with #, what became of its requests. Its pauses are short.
import { subscribe } from "node:diagnostics_channel";
import { pathToFileURL } from "node:url";
import { EventSource } from "eventsource";

const [file, server] = process.argv.slice(2);
const note = (text) => process.stdout.write(`# ${text}\n`);
const { fetch, setTimeout } = globalThis;

globalThis.setTimeout = (callback, milliseconds, ...more) => setTimeout(callback, milliseconds / 10, ...more);
subscribe("undici:client:sendHeaders", () => note("asks"));
globalThis.fetch = async (url, options) => {
  try {
    const answer = await fetch(new URL(url, server), options);
    note(answer.status);
    return answer;
  } catch (error) {
    note("failed");
    throw error;
  }
};
globalThis.EventSource = class extends EventSource {
  constructor(url, options) {
    super(new URL(url, server), options);
    this.addEventListener("open", () => note("open"));
    this.addEventListener("error", () => note("broken"));
  }
};

// A page stays where it is.
setInterval(() => {}, 1000);
await import(pathToFileURL(file));
