// Node `ws`: every client is sent each message.
"use strict";

const { WebSocketServer } = require("ws");
const { port, pieces } = require("./load.js");

const server = new WebSocketServer({ host: "127.0.0.1", port, perMessageDeflate: false, backlog: 1024 }, () => console.log("ready"));
server.on("connection", (client) => {
  client.on("message", () => pieces((text) => server.clients.forEach((each) => each.send(text))));
  client.on("error", () => {});
});
