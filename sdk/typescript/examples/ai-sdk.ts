/**
 * An agent on the Vercel AI SDK: `node dist/examples/ai-sdk.js [AGENT]`.
 *
 * It uses the AI SDK's mock model, which needs no network. Replace it with a real one.
 */
import {
  jsonSchema,
  type ModelMessage,
  simulateReadableStream,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { MockLanguageModelV3 } from "ai/test";

import { Client, type Interface, type ItemWriter, offer, RefusedError } from "../src/index.js";

type StreamResult = Awaited<ReturnType<MockLanguageModelV3["doStream"]>>;
type StreamPart = StreamResult["stream"] extends ReadableStream<infer P> ? P : never;

/** Model that calls `multiply` if the message contains a product. */
const model = new MockLanguageModelV3({
  doStream: ({ prompt }): Promise<StreamResult> => {
    const last = prompt.at(-1);
    const returned = last?.role === "tool" ? last.content[0] : undefined;
    const product =
      returned?.type === "tool-result" && returned.output.type === "text"
        ? returned.output.value
        : undefined;
    const factors =
      last?.role === "user" ? /(\d+) ?\* ?(\d+)/.exec(JSON.stringify(last.content)) : null;
    const reply = (text: string): StreamPart[] => [
      { type: "text-start", id: "text" },
      ...text
        .split(/(?<= )/)
        .map((delta): StreamPart => ({ type: "text-delta", id: "text", delta })),
      { type: "text-end", id: "text" },
    ];
    const call = (input: string): StreamPart[] => [
      { type: "reasoning-start", id: "thought" },
      { type: "reasoning-delta", id: "thought", delta: "There is a tool for that." },
      { type: "reasoning-end", id: "thought" },
      { type: "tool-call", toolCallId: "multiply", toolName: "multiply", input },
    ];
    const parts = factors
      ? call(JSON.stringify({ a: Number(factors[1]), b: Number(factors[2]) }))
      : reply(product === undefined ? "I can only multiply." : `It is ${product}.`);
    const finish: StreamPart = {
      type: "finish",
      finishReason: { unified: factors ? "tool-calls" : "stop", raw: undefined },
      usage: {
        inputTokens: { total: 40, noCache: 40, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { total: 8, text: 8, reasoning: 0 },
      },
    };
    return Promise.resolve({ stream: simulateReadableStream({ chunks: [...parts, finish] }) });
  },
});

/**
 * Returns the session's earlier messages. A turn that starts over asks the model again, so that its
 * own events do not count.
 */
function earlierMessages({ history, turn: current }: Interface): ModelMessage[] {
  return history.flatMap(({ event, turn }): ModelMessage[] => {
    if (turn === current) return [];
    if (event.kind === "user_message") return [{ role: "user", content: event.text }];
    if (event.kind === "message") return [{ role: "assistant", content: event.text }];
    return [];
  });
}

/**
 * Announces a tool call, runs the tool once it may run, and sends the result. A turn that goes on
 * after a crash gets the results of calls that were made already.
 */
async function runTool(
  turn: Interface,
  name: string,
  args: Record<string, unknown>,
  run: () => string,
): Promise<string> {
  try {
    // A product may be calculated again. A tool with an effect needs "ask", the default.
    return String(await turn.callOnce(name, args, run, { replay: "safe" }));
  } catch (error) {
    if (error instanceof RefusedError && error.code === "forbidden")
      return "The owner did not allow this call.";
    throw error;
  }
}

async function answer(turn: Interface): Promise<void> {
  const multiply = tool({
    description: "Multiplies two numbers.",
    inputSchema: jsonSchema<{ a: number; b: number }>({
      type: "object",
      properties: { a: { type: "number" }, b: { type: "number" } },
      required: ["a", "b"],
    }),
    execute: ({ a, b }) => runTool(turn, "multiply", { a, b }, () => String(a * b)),
  });
  const { fullStream } = streamText({
    model,
    ...(turn.instructions === undefined ? {} : { system: turn.instructions }),
    messages: [...earlierMessages(turn), { role: "user", content: turn.userMessage }],
    tools: { multiply },
    stopWhen: stepCountIs(8),
    abortSignal: turn.signal,
    // The error is also in the stream, and thrown there.
    onError: () => {},
  });
  const open = new Map<string, ItemWriter>();
  for await (const part of fullStream) {
    switch (part.type) {
      case "reasoning-start":
        open.set(part.id, turn.thought());
        break;
      case "text-start":
        open.set(part.id, turn.message());
        break;
      case "reasoning-delta":
      case "text-delta":
        await open.get(part.id)?.write(part.text);
        break;
      case "reasoning-end":
      case "text-end":
        await open.get(part.id)?.end();
        break;
      case "finish":
        await turn.usage({
          input_tokens: part.totalUsage.inputTokens ?? 0,
          output_tokens: part.totalUsage.outputTokens ?? 0,
        });
        break;
      case "error":
        throw part.error;
    }
  }
}

const base = process.env.THOUGHTWIRE_URL ?? "http://127.0.0.1:8282";
// Node has its own WebSocket from version 22 on.
const webSocket = globalThis.WebSocket ?? (await import("ws")).default;
const client = new Client({
  url: `${base.replace(/^http/, "ws")}/v1/ws`,
  webSocket,
  name: "ai-sdk.ts",
});
const tools = [{ name: "multiply", description: "Multiplies two numbers." }];
const agent = offer(client, process.argv[2] ?? "multiplier", answer, {
  turns: 8,
  history: 100,
  resumable: true,
  tools,
});
await agent.offered();
console.log(`${agent.name} is offered at ${base}`);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void agent.stop());
await agent.ended;
await client.close();
