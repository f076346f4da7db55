/** The Vercel AI SDK example, against the real server. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { it } from "node:test";

import { isTurnEnd, messages, readUntil, TestServer } from "./support.js";

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

it("goes on in another process after the one in the middle of a tool was killed", async () => {
  const server = await TestServer.start();
  const dir = mkdtempSync(join(tmpdir(), "thoughtwire-"));
  const effects = join(dir, "effects");
  const program = new URL("../test-programs/paying-example.js", import.meta.url).pathname;
  const env = { ...process.env, THOUGHTWIRE_URL: server.url };
  const workers: ChildProcess[] = [];
  const start = (role: string) => {
    const stdio = ["ignore", "pipe", "inherit"] as const;
    const worker = spawn(process.execPath, [program, effects, role], { env, stdio: [...stdio] });
    workers.push(worker);
    return { worker, lines: createInterface({ input: worker.stdout! })[Symbol.asyncIterator]() };
  };
  const client = server.client();
  try {
    const { worker, lines } = start("stuck");
    assert.match(String((await lines.next()).value), /payer is offered/);
    const room = client.attach(await client.createSession({ agent: "payer" }), { after: 0 });
    await room.send("Pay.");
    // The second payment is made, and its result was never sent.
    assert.equal((await lines.next()).value, "paid, and stuck");
    worker.kill("SIGKILL");
    start("works");
    const seen = await readUntil(room, ({ event }) => event.kind === "approval_asked");
    const question = seen.at(-1)!.event;
    assert.ok(question.kind === "approval_asked" && question.about === "retry");
    await room.decide(question.call, "done", { result: "receipt 2" });
    seen.push(...(await readUntil(room, isTurnEnd)));
    const end = seen.at(-1)!.event;
    assert.ok(end.kind === "turn_ended" && end.outcome === "completed", JSON.stringify(end));
    assert.deepEqual(messages(seen), ["receipt 1, receipt 2, receipt 3"]);
    const events = seen.map(({ event }) => event);
    const resumed = events.flatMap((event) =>
      event.kind === "turn_resumed" ? [[event.attempt, event.reason]] : [],
    );
    assert.deepEqual(resumed, [[1, "worker_lost"]]);
    const calls = events.flatMap((event) => (event.kind === "tool_called" ? [event.call] : []));
    const results = events.flatMap((event) =>
      event.kind === "tool_returned" ? [[event.call, event.text]] : [],
    );
    const receipts = calls.map((call, n) => [call, `receipt ${n + 1}`]);
    assert.deepEqual([calls.length, results], [3, receipts]);
    // No step is made twice, by the model or by the tool.
    const step = (n: number) => [`asked with ${n}`, "pay 5"];
    const steps = [...step(0), ...step(1), ...step(2), "asked with 3"];
    assert.deepEqual(readFileSync(effects, "utf8").trimEnd().split("\n"), steps);
  } finally {
    for (const worker of workers) worker.kill("SIGKILL");
    await client.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
