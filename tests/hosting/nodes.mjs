// The stock Socket.IO client on a balancer's URL: says what it sees, one JSON per line, and emits what it is told to.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, transports] = process.argv.slice(2);
const tell = (seen) => console.log(JSON.stringify(seen));
const socket = io(url, {
  transports: transports.split(","),
  auth: { token: "ada" },
  reconnectionDelay: 100,
  reconnectionDelayMax: 400,
});

socket.on("connect", () => tell({ connect: socket.id, recovered: socket.recovered }));
socket.on("connect_error", (error) => tell({ error: error.message }));
socket.on("disconnect", (reason) => tell({ disconnect: reason }));
socket.io.on("open", () => {
  const { engine } = socket.io;
  engine.once("upgrade", (transport) => tell({ upgraded: transport.name }));
  engine.once("upgradeError", (error) => tell({ notUpgraded: `${error.message} ${error.context?.message}` }));
});
socket.onAny((event, ...values) => tell({ event, values }));
createInterface({ input: process.stdin }).on("line", (line) => {
  const values = JSON.parse(line);
  socket.emit(...values, (...answer) => tell({ answer, of: values[0] }));
});
