// Joins chat:1 and chat:2 with the SDK, publishes into chat:mine, and prints what happens: node sdk_line.mjs URL [WAY…]
// A word on its input: "online" (the network is another one), "quiet" (publish no more), "close".
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { connect } from "../../src/openline/web/sdk/openline.js";

const [url, ...ways] = process.argv.slice(2);
const print = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
// Twice as fast, for patience.
const clock = {
  now: () => Date.now() * 2,
  random: Math.random,
  setTimeout: (run, ms) => setTimeout(run, ms / 2),
  clearTimeout: (timer) => clearTimeout(timer),
};
const window = new EventTarget();
const line = connect(url, { WebSocket, clock, page: { window }, transports: ways.length > 0 ? ways : undefined });

line.on("$status", ({ status, code, reason, resumed }) => print({ status, code, reason, resumed, connection: line.connection }));
line.on("$transport", ({ transport }) => print({ transport, same: transport === line.transport }));
line.on("$gap", () => print({ gap: "line" }));
line.on("direct", (n) => print({ direct: n }));
for (const name of ["chat:1", "chat:2"]) {
  const chat = line.subscribe(name);
  chat.on("n", (n) => print({ n }));
  chat.on("$gap", () => print({ gap: name }));
  chat.ready.then(() => print({ joined: name }));
}

let publishing = true;
const mine = line.subscribe("chat:mine");
mine.on("m", (m) => print({ mine: m }));
await mine.ready;
print({ joined: "chat:mine" });
async function publish() {
  let count = 0;
  for (; publishing; count += 1) {
    const m = count;
    mine.publish("m", m).then(() => print({ published: m }), ({ code }) => print({ failed: m, code }));
    if (m % 3 === 0) line.emit("count", m).then(() => print({ counted: m }), ({ code }) => print({ uncounted: m, code }));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  print({ quiet: count });
}
publish();

const words = {
  online: () => window.dispatchEvent(new Event("online")),
  quiet: () => (publishing = false),
  close: () => line.close(),
};
createInterface({ input: process.stdin }).on("line", (word) => words[word]()).on("close", () => process.exit());
