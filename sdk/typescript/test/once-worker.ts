/**
 * A worker that a test kills in the middle of a turn. It appends its tools' effects to the file that
 * EFFECTS names. The process whose turn is not resumed stays in its second call for ever.
 */
import { appendFileSync } from "node:fs";
import WebSocket from "ws";

import { Client, offer } from "../src/index.js";

const note = (tool: string, key: string) =>
  appendFileSync(process.env.EFFECTS!, `${JSON.stringify({ tool, key })}\n`);

const client = new Client({ url: process.env.THOUGHTWIRE_URL!, webSocket: WebSocket });
const agent = offer(
  client,
  "once",
  async (turn) => {
    const paid = await turn.callOnce("pay", { euro: 5 }, (call) => {
      note("pay", call);
      return "paid";
    });
    const look = async (call: string) => {
      note("look", call);
      if (turn.resumed) return "looked";
      console.log("waits");
      return new Promise<string>(() => {});
    };
    const looked = await turn.callOnce("look", {}, look, { replay: "safe" });
    return `${paid}, ${looked}, attempt ${turn.attempt}`;
  },
  { resumable: true },
);
console.log((await agent.offered()).session);
