// Runs one JavaScript block of a page against a server: node run_block.mjs BLOCK SDK SERVER EXPECTED-LINES
// It ends as soon as everything has been printed that the block's comments promise.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { format } from "node:util";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";

const [file, sdk, server, expected] = process.argv.slice(2);
const missing = JSON.parse(expected);
const unhandled = [];
let done = () => {};

globalThis.WebSocket = WebSocket;
globalThis.location = { href: server };
// In a page, addresses are relative to it.
const { fetch } = globalThis;
globalThis.fetch = (url, options) => fetch(new URL(url, server), options);
globalThis.EventSource = class extends EventSource {
  constructor(url, options) {
    super(new URL(url, server), options);
  }
};
console.log = (...values) => {
  const line = format(...values);
  process.stdout.write(`${line}\n`);
  const place = missing.indexOf(line);
  if (place >= 0) missing.splice(place, 1);
  if (missing.length === 0) done();
};
console.error = (...values) => unhandled.push(format(...values));

const block = readFileSync(file, "utf8");
const defines = (name) => new RegExp(`\\b(?:const|let) (?:${name}\\b|\\{[^}]*\\b${name}\\b)`).test(block);
const prelude = [
  /^import .*\bconnect\b/m.test(block) ? "" : 'import { connect } from "/openline.js";',
  defines("line") ? "" : 'const line = globalThis.theLine = connect("/openline", { token: "ada" });',
].join("\n");
const module = `${prelude}\n${block}`
  .replaceAll('"/openline.js"', JSON.stringify(sdk))
  .replaceAll('"ws"', JSON.stringify(import.meta.resolve("ws")))
  .replaceAll('"socket.io-client"', JSON.stringify(import.meta.resolve("socket.io-client")));
writeFileSync(`${file}.mjs`, module);

await import(pathToFileURL(`${file}.mjs`));
if (missing.length > 0) await new Promise((resolve) => (done = resolve));
// What was sent has been answered when this is.
else await globalThis.theLine?.ask("nobody handles this").catch(() => {});
if (unhandled.length > 0) process.stderr.write(unhandled.join("\n"));
process.exit(unhandled.length > 0 ? 1 : 0);
