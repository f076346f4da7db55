/** The Vercel AI SDK example, against the real server. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { it } from "node:test";

import { isTurnEnd, TestServer } from "./support.js";

it("runs the AI SDK's model as an agent: streamed, and with a tool", async () => {
  const server = await TestServer.start();
  const client = server.client();
  const example = new URL("../examples/ai-sdk.js", import.meta.url).pathname;
  const env = { ...process.env, THOUGHTWIRE_URL: server.url };
  const program = spawn(process.execPath, [example], { env, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [line] = (await once(createInterface({ input: program.stdout }), "line")) as [string];
    assert.match(line, /multiplier is offered/);
    const room = client.attach(await client.createSession({ agent: "multiplier" }));
    const turn = async (text: string) => {
      await room.send(text);
      const seen: string[] = [];
      for await (const update of room) {
        if (update.type === "delta") seen.push(`${update.kind} … ${update.text}`);
        if (update.type !== "event") continue;
        const { event } = update;
        if (event.kind === "tool_called") seen.push(`${event.name} ${JSON.stringify(event.args)}`);
        else if (event.kind === "usage")
          seen.push(`${event.input_tokens} + ${event.output_tokens}`);
        else if ("text" in event) seen.push(`${event.kind} ${event.text}`);
        if (isTurnEnd(update)) return seen;
      }
      return assert.fail("the room ended before the expected event");
    };
    assert.deepEqual(await turn("What is 6*7?"), [
      "user_message What is 6*7?",
      "thought … There is a tool for that.",
      "thought There is a tool for that.",
      'multiply {"a":6,"b":7}',
      "tool_returned 42",
      "message … It ",
      "message … is ",
      "message … 42.",
      "message It is 42.",
      "80 + 16",
    ]);
    assert.ok((await turn("Thank you.")).includes("message I can only multiply."));
    program.kill("SIGTERM");
    assert.deepEqual(await once(program, "exit"), [0, null]);
  } finally {
    program.kill("SIGKILL");
    await client.close();
    await server.stop();
  }
});
