/**
 * An agent on the Vercel AI SDK: `node dist/examples/ai-sdk.js [AGENT]`.
 *
 * It uses the AI SDK's mock model, which needs no network. Replace it with a real one.
 */
import { pathToFileURL } from "node:url";
import {
  type JSONSchema7,
  jsonSchema,
  type LanguageModel,
  type ModelMessage,
  simulateReadableStream,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { MockLanguageModelV3 } from "ai/test";

import {
  CallFailed,
  Client,
  type Interface,
  type ItemWriter,
  type JsonValue,
  OutcomeUnknown,
  offer,
  RefusedError,
  type ToolDeclaration,
} from "../src/index.js";

type StreamResult = Awaited<ReturnType<MockLanguageModelV3["doStream"]>>;
export type StreamPart = StreamResult["stream"] extends ReadableStream<infer P> ? P : never;
export type Prompt = Parameters<MockLanguageModelV3["doStream"]>[0]["prompt"];
type Args = Record<string, JsonValue>;

/** Tool of the agent. */
export interface AgentTool extends ToolDeclaration {
  parameters: JSONSchema7 & ToolDeclaration["parameters"];
  run: (args: Args) => Promise<string> | string;
}

/** The mock model with a function that chooses its next parts. */
export function mockModel(next: (prompt: Prompt) => StreamPart[]): LanguageModel {
  return new MockLanguageModelV3({
    doStream: ({ prompt }): Promise<StreamResult> => {
      const parts = next(prompt);
      const isCall = parts.some((part) => part.type === "tool-call");
      const finish: StreamPart = {
        type: "finish",
        finishReason: { unified: isCall ? "tool-calls" : "stop", raw: undefined },
        usage: {
          inputTokens: { total: 40, noCache: 40, cacheRead: 0, cacheWrite: 0 },
          outputTokens: { total: 8, text: 8, reasoning: 0 },
        },
      };
      return Promise.resolve({ stream: simulateReadableStream({ chunks: [...parts, finish] }) });
    },
  });
}

/** Parts of a mock model that sends a message, word by word. */
export function sayParts(text: string): StreamPart[] {
  return [
    { type: "text-start", id: "text" },
    ...text.split(/(?<= )/).map((delta): StreamPart => ({ type: "text-delta", id: "text", delta })),
    { type: "text-end", id: "text" },
  ];
}

/** Parts of a mock model that calls a tool, after a thought. */
export function callParts(toolName: string, args: Args): StreamPart[] {
  return [
    { type: "reasoning-start", id: "thought" },
    { type: "reasoning-delta", id: "thought", delta: "There is a tool for that." },
    { type: "reasoning-end", id: "thought" },
    { type: "tool-call", toolCallId: toolName, toolName, input: JSON.stringify(args) },
  ];
}

/** Model that calls `multiply` if the message contains a product. */
const multiplier = mockModel((prompt) => {
  const last = prompt.at(-1);
  const returned = last?.role === "tool" ? last.content[0] : undefined;
  if (returned?.type === "tool-result" && returned.output.type === "text") {
    return sayParts(`It is ${returned.output.value}.`);
  }
  const text = last?.role === "user" ? JSON.stringify(last.content) : "";
  const factors = /(\d+) ?\* ?(\d+)/.exec(text);
  return factors
    ? callParts("multiply", { a: Number(factors[1]), b: Number(factors[2]) })
    : sayParts("I can only multiply.");
});

const multiply: AgentTool = {
  name: "multiply",
  description: "Multiplies two numbers.",
  parameters: {
    type: "object",
    properties: { a: { type: "number" }, b: { type: "number" } },
    required: ["a", "b"],
  },
  // A product may be calculated again. About a call of a tool with an effect the owner is asked.
  replay: "safe",
  run: ({ a, b }) => String(Number(a) * Number(b)),
};

/** Returns the session's earlier messages, without those of this turn. */
function earlierMessages({ history, turn: current }: Interface): ModelMessage[] {
  return history.flatMap(({ event, turn }): ModelMessage[] => {
    if (turn === current) return [];
    if (event.kind === "user_message") return [{ role: "user", content: event.text }];
    if (event.kind === "message") return [{ role: "assistant", content: event.text }];
    return [];
  });
}

/**
 * Returns what earlier runs of this turn have sent, so that the model goes on behind it. Calls with
 * a result return it. A call without one is treated as its tool's `replay` class says.
 */
async function messagesSoFar(turn: Interface, tools: AgentTool[]): Promise<ModelMessage[]> {
  const messages: ModelMessage[] = [];
  const inputs = new Set(turn.inputs.map(({ item }) => item));
  for (const { event } of turn.soFar) {
    if (event.kind === "user_message" && !inputs.has(event.item)) {
      messages.push({ role: "user", content: event.text });
    } else if (event.kind === "message" && event.complete) {
      messages.push({ role: "assistant", content: event.text });
    } else if (event.kind === "tool_called") {
      const { call: toolCallId, name: toolName, args } = event;
      const called = tools.find(({ name }) => name === toolName);
      if (!called) throw new Error(`this program has no tool ${toolName}`);
      const value = await runTool(turn, called, args as Args);
      messages.push(
        {
          role: "assistant",
          content: [{ type: "tool-call", toolCallId, toolName, input: args }],
        },
        {
          role: "tool",
          content: [{ type: "tool-result", toolCallId, toolName, output: { type: "text", value } }],
        },
      );
    }
  }
  return messages;
}

/**
 * Announces a tool call, runs the tool once it may run, and sends the result. A turn that goes on
 * after a crash gets the results of calls that were made already.
 */
async function runTool(turn: Interface, { name, run }: AgentTool, args: Args): Promise<string> {
  try {
    return String(await turn.callOnce(name, args, () => run(args)));
  } catch (error) {
    if (error instanceof RefusedError && error.code === "forbidden")
      return "The owner did not allow this call.";
    if (error instanceof CallFailed || error instanceof OutcomeUnknown) return error.message;
    throw error;
  }
}

async function answer(turn: Interface, model: LanguageModel, tools: AgentTool[]): Promise<void> {
  const messages: ModelMessage[] = [
    ...earlierMessages(turn),
    { role: "user", content: turn.userMessage },
  ];
  if (turn.resumed) messages.push(...(await messagesSoFar(turn, tools)));
  // Only the turn's end was lost.
  if (messages.at(-1)?.role === "assistant") return;
  const callable = tools.map((one) => {
    const { name, description, parameters } = one;
    const execute = (args: Args) => runTool(turn, one, args);
    return [name, tool({ description, inputSchema: jsonSchema<Args>(parameters), execute })];
  });
  const { fullStream } = streamText({
    model,
    ...(turn.instructions === undefined ? {} : { system: turn.instructions }),
    messages,
    tools: Object.fromEntries(callable),
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

/** Offers an agent until this program is stopped. */
export async function serve(name: string, model: LanguageModel, tools: AgentTool[]): Promise<void> {
  const base = process.env.THOUGHTWIRE_URL ?? "http://127.0.0.1:8282";
  // Node has its own WebSocket from version 22 on.
  const webSocket = globalThis.WebSocket ?? (await import("ws")).default;
  const client = new Client({
    url: `${base.replace(/^http/, "ws")}/v1/ws`,
    webSocket,
    name: "ai-sdk.ts",
  });
  const agent = offer(client, name, (turn) => answer(turn, model, tools), {
    turns: 8,
    history: 100,
    resumable: true,
    tools: tools.map(({ run: _, ...declaration }) => declaration),
  });
  await agent.offered();
  console.log(`${agent.name} is offered at ${base}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void agent.stop());
  await agent.ended;
  await client.close();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await serve(process.argv[2] ?? "multiplier", multiplier, [multiply]);
}
