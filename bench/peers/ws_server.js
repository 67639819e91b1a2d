// Peer: ws on Node. usage: PORT fanout|echo|idle
const { WebSocketServer, WebSocket } = require("ws");
const echo = process.argv[3] === "echo";
const server = new WebSocketServer({ port: +process.argv[2], host: "127.0.0.1", backlog: 4096 });
server.on("connection", (socket) => {
  socket.on("message", (data) => {
    const text = data.toString();
    if (echo) {
      socket.send(text);
      return;
    }
    for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client.send(text);
  });
});
