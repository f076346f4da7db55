// Socket.IO with connection state recovery, which resends what a client missed.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");
const { port, pieces } = require("./load.js");

const listener = http.createServer();
const server = new Server(listener, {
  connectionStateRecovery: { maxDisconnectionDuration: 120000 },
  transports: ["websocket"],
  pingInterval: 600000,
});
server.on("connection", (client) => {
  client.on("go", () => pieces((text) => server.emit("m", text)));
});
listener.listen(port, "127.0.0.1", 1024, () => console.log("ready"));
