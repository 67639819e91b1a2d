// Peer: ws on Node. usage: PORT fanout|echo|idle|channels   (channels: "+NAME" joins, "NAME text" goes to its members)
const { WebSocketServer, WebSocket } = require("ws");
const mode = process.argv[3];
const server = new WebSocketServer({ port: +process.argv[2], host: "127.0.0.1", backlog: 4096 });
const channels = new Map();

function join(name, socket) {
  if (!channels.has(name)) channels.set(name, new Set());
  channels.get(name).add(socket);
  socket.on("close", () => channels.get(name).delete(socket));
  socket.send("ok");
}

function sendToAll(clients, text) {
  for (const client of clients) if (client.readyState === WebSocket.OPEN) client.send(text);
}

server.on("connection", (socket) => {
  socket.setMaxListeners(0);
  socket.on("message", (data) => {
    const text = data.toString();
    if (mode === "echo") socket.send(text);
    else if (mode === "fanout") sendToAll(server.clients, text);
    else if (text[0] === "+") join(text.slice(1), socket);
    else sendToAll(channels.get(text.slice(0, text.indexOf(" "))), text);
  });
});
