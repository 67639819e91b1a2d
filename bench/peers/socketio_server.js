// Peer: Socket.IO on Node. usage: PORT fanout|echo|idle
const http = require("http");
const { Server } = require("socket.io");
const echo = process.argv[3] === "echo";
const server = http.createServer();
const io = new Server(server);
io.on("connection", (socket) => {
  socket.on("message", (data) => (echo ? socket : io).emit("message", data));
});
server.listen({ port: +process.argv[2], host: "127.0.0.1", backlog: 4096 });
