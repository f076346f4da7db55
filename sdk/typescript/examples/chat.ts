/** A chat in the terminal: `node dist/examples/chat.js [AGENT]`. */
import { createInterface } from "node:readline/promises";

import { Client } from "../src/index.js";

const name = process.argv[2] ?? "main";
const base = process.env.THOUGHTWIRE_URL ?? "http://127.0.0.1:8282";
// Node has its own WebSocket from version 22 on.
const webSocket = globalThis.WebSocket ?? (await import("ws")).default;
const client = new Client({
  url: `${base.replace(/^http/, "ws")}/v1/ws`,
  webSocket,
  name: "chat.ts",
});
client.onState((state, reason) => console.error(`(${state}${reason ? `: ${reason}` : ""})`));

const { session } = await client.ensureAgent({ name });
const room = client.attach(session, { last: 20 });
void (async () => {
  for await (const update of room) {
    if (update.type === "delta" && update.kind === "message") process.stdout.write(update.text);
    if (update.type === "event" && update.event.kind === "tool_called")
      console.log(`⚙ ${update.event.name}`);
    if (update.type === "event" && update.event.kind === "turn_ended") process.stdout.write("\n› ");
  }
})();
for await (const line of createInterface({ input: process.stdin, prompt: "› " })) {
  if (line.trim()) await room.send(line);
}
await client.close();
