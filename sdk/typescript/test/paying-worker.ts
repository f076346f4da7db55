/** Worker of the test that kills one: `paying-worker.js URL EFFECTS stuck|works`. */
import { appendFileSync } from "node:fs";
import WebSocket from "ws";

import { Client, offer } from "../src/index.js";

const [, , url, effects, role] = process.argv as [string, string, string, string, string];
const client = new Client({ url: `${url}/v1/ws`, webSocket: WebSocket });
const agent = offer(
  client,
  "payer",
  async (turn) => {
    const results: unknown[] = [];
    for (const n of [1, 2, 3]) {
      const pay = async () => {
        appendFileSync(effects, `${n}\n`);
        if (role === "stuck" && n === 2) {
          console.log("paid, and stuck");
          await new Promise(() => {});
        }
        return `paid ${n}`;
      };
      results.push(await turn.callOnce("pay", { n }, pay));
    }
    return results.join(", ");
  },
  { resumable: true },
);
await agent.offered();
console.log("offered");
await agent.ended;
