// Node `ws`: sends each message to every client.
"use strict";

const { WebSocketServer } = require("ws");
const { port, pieces } = require("./load.js");

const options = { host: "127.0.0.1", port, perMessageDeflate: false, backlog: 1024 };
const server = new WebSocketServer(options, () => console.log("ready"));
server.on("connection", (client) => {
  client.on("message", () => pieces((text) => server.clients.forEach((each) => each.send(text))));
  client.on("error", () => {});
});
