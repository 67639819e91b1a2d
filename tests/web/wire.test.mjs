/** The SDK on a real WebSocket, and a process that ends by itself. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { connect } from "../../src/openline/web/sdk/openline.js";

/** Nothing here waits for chance. */
const clock = {
  now: () => Date.now(),
  random: () => 0,
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** A server that answers from a table; gives its address, and what it was told. */
async function serve(t, answers) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  const told = [];
  await once(server, "listening");
  t.after(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  server.on("connection", (socket) => {
    socket.on("message", (text) => {
      for (const frame of [JSON.parse(text)].flat()) {
        told.push(frame);
        const payload = answers[frame.type]?.(frame, socket);
        if (payload !== undefined) socket.send(JSON.stringify({ type: "$reply", id: frame.id, payload }));
      }
    });
  });
  return { server, told, url: `ws://127.0.0.1:${server.address().port}/openline` };
}

const welcome = ({ resume }) => ({ connection: "c1", resume: "secret", position: "e.1", resumed: resume !== undefined, ping: 25 });

test("a line opens, asks, is cut, comes back, and closes with 1000", async (t) => {
  let cut = false;
  const { server, told, url } = await serve(t, {
    $connect: welcome,
    add: ({ payload: { a, b } }, socket) => {
      if (cut) return a + b;
      cut = true;
      return socket.terminate();
    },
  });
  const line = connect(url, { WebSocket, clock });
  assert.equal(await line.ask("add", { a: 1, b: 2 }), 3);
  assert.deepEqual(told.map(({ type, resume }) => [type, resume]), [
    ...[["$connect", undefined], ["add", undefined]],
    ...[["$connect", "secret"], ["add", undefined]],
  ]);
  assert.equal(told[1].key, told[3].key);
  const [peer] = server.clients;
  const closed = once(peer, "close");
  line.close();
  assert.equal((await closed)[0], 1000);
});

test("a line that is closed while it connects says nothing more", async (t) => {
  const { url } = await serve(t, { $connect: welcome });
  const line = connect(url, { WebSocket, clock });
  line.close();
  assert.equal(line.status, "closed");
});

test("a server that is not there is tried until it is", async (t) => {
  const { server, url } = await serve(t, {});
  const { port } = server.address();
  server.close();
  await once(server, "close");
  const line = connect(url, { WebSocket, clock });
  t.after(() => line.close());
  await new Promise((resolve) => line.on("$status", ({ status }) => status === "waiting" && resolve()));
  const again = new WebSocketServer({ port, host: "127.0.0.1" });
  t.after(() => again.close());
  again.on("connection", (socket) => {
    socket.on("message", (text) => {
      socket.send(JSON.stringify({ type: "$reply", id: JSON.parse(text).id, payload: welcome({}) }));
    });
  });
  await new Promise((resolve) => line.on("$status", ({ status }) => status === "open" && resolve()));
  assert.equal(line.connection, "c1");
});

test("a process whose line is closed ends by itself", async (t) => {
  const { url } = await serve(t, { $connect: welcome, $subscribe: () => ({ position: "e.1", publications: [] }), save: () => 1 });
  const program = `
    import { WebSocket } from "ws";
    import { connect } from "./src/openline/web/sdk/openline.js";
    const line = connect("${url}", { WebSocket });
    const chat = line.subscribe("chat:lobby");
    await chat.ready;
    chat.typing();
    await line.emit("save", 1);
    line.close();
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
