/** A chat in the terminal: `node dist/examples/chat.js [AGENT]`. */
import { createInterface } from "node:readline/promises";

import { Client, RefusedError } from "../src/index.js";

const name = process.argv[2] ?? "main";
const base = process.env["THOUGHTWIRE_URL"] ?? "http://127.0.0.1:8282";
// Node has a WebSocket of its own from 22 on.
const webSocket = globalThis.WebSocket ?? ((await import("ws")).default as unknown as typeof globalThis.WebSocket);
const client = new Client({ url: `${base.replace(/^http/, "ws")}/v1/ws`, webSocket, name: "chat.ts" });
client.onState((state, reason) => console.error(`(${state}${reason ? `: ${reason}` : ""})`));

/** The agent's main session, made if it is not there. */
async function session(): Promise<string> {
  try {
    return (await client.createAgent({ name })).session;
  } catch (error) {
    if (!(error instanceof RefusedError && error.code === "name_taken")) throw error;
    const answer = await fetch(`${base}/v1/agents/${encodeURIComponent(name)}`);
    return ((await answer.json()) as { agent: { main_session: string } }).agent.main_session;
  }
}

const room = client.attach(await session(), { last: 20 });
void (async () => {
  for await (const shown of room) {
    if (shown.type === "delta" && shown.kind === "message") process.stdout.write(shown.text);
    if (shown.type === "event" && shown.event.kind === "tool_called") console.log(`⚙ ${shown.event.name}`);
    if (shown.type === "event" && shown.event.kind === "turn_ended") process.stdout.write("\n› ");
  }
})();
for await (const line of createInterface({ input: process.stdin, prompt: "› " })) {
  if (line.trim()) await room.send(line);
}
await client.close();
