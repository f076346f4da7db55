/**
 * The AI SDK example with a model that pays three times: `paying-example.js EFFECTS stuck|works`.
 *
 * Each request to the model and each payment appends a line to the file EFFECTS. The payments are
 * equal, so that only their order tells them apart.
 */
import { appendFileSync, readFileSync } from "node:fs";

import { type AgentTool, callParts, mockModel, sayParts, serve } from "../examples/ai-sdk.js";

const [, , effects, role] = process.argv as [string, string, string, string];

/** Notes an effect; returns the number of times that it has happened. */
function note(effect: string): number {
  appendFileSync(effects, `${effect}\n`);
  const lines = readFileSync(effects, "utf8").split("\n");
  return lines.filter((line) => line === effect).length;
}

const model = mockModel((prompt) => {
  const receipts = prompt.flatMap(({ role, content }) =>
    role === "tool"
      ? content.flatMap((part) =>
          part.type === "tool-result" && part.output.type === "text" ? [part.output.value] : [],
        )
      : [],
  );
  note(`asked with ${receipts.length}`);
  return receipts.length < 3 ? callParts("pay", { euros: 5 }) : sayParts(receipts.join(", "));
});

const pay: AgentTool = {
  name: "pay",
  description: "Pays.",
  parameters: { type: "object", properties: { euros: { type: "number" } } },
  run: async ({ euros }) => {
    const payment = note(`pay ${euros}`);
    if (role === "stuck" && payment === 2) {
      console.log("paid, and stuck");
      await new Promise(() => {});
    }
    return `receipt ${payment}`;
  },
};

await serve("payer", model, [pay]);
