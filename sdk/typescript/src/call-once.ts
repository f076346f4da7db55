import { CallFailedError, EndedError, OutcomeUnknown, RefusedError } from "./errors.js";
import type { Interface } from "./interface.js";
import type { PastCall } from "./past-calls.js";
import type { CallAnswer, TurnChannel } from "./turn-channel.js";
import type { JsonValue, ToolStatus } from "./wire.js";

/** Runs a tool. It gets the call's id, which all attempts share. */
export type RunOnce<T> = (call: string) => Promise<T> | T;

/** Options of {@link Interface.callOnce}. */
export interface CallOnceOptions {
  /**
   * Treatment of a call that was running when the attempt before was lost. `safe` runs it again.
   * `ask` asks the owner, who lets it run again, gives its result, or fails it. `never` closes it as
   * unknown. `ask` by default.
   */
  replay?: "safe" | "ask" | "never";
  /** Limit of the owner's answer in seconds; an hour by default. */
  timeout?: number;
}

/** A call whose tool may run now, or the result of one that need not run. */
type Begun = { call: string } | { value: JsonValue };

const UNKNOWN =
  "The attempt before was lost during this call. It may or may not have taken effect.";
const CUT =
  "The turn's events are not complete, so nobody can tell whether this call was made before. " +
  'Read the session\'s log, or pass replay: "safe" if the tool may run twice.';

/** Makes a call once over all attempts of a turn; see {@link Interface.callOnce}. */
export async function callOnce(
  turn: Interface,
  channel: TurnChannel,
  name: string,
  args: Record<string, unknown>,
  run: RunOnce<unknown>,
  options: CallOnceOptions,
): Promise<JsonValue> {
  const begun = await begin(turn, channel, name, args, options);
  if ("value" in begun) return begun.value;
  let value: unknown;
  try {
    value = await run(begun.call);
  } catch (error) {
    if (error instanceof EndedError) throw error;
    const text = error instanceof Error ? error.message || error.name : String(error);
    await turn.toolReturned(begun.call, text, { status: "error" });
    throw new CallFailedError(text, { cause: error });
  }
  if (value === undefined || value === null || typeof value === "string") {
    await turn.toolReturned(begun.call, value ?? "");
    return value ?? "";
  }
  const text = JSON.stringify(value);
  const content = JSON.parse(text) as JsonValue;
  await turn.toolReturned(begun.call, text, { content });
  return content;
}

async function begin(
  turn: Interface,
  channel: TurnChannel,
  name: string,
  args: Record<string, unknown>,
  { replay = "ask", timeout }: CallOnceOptions,
): Promise<Begun> {
  if (!channel.isPastComplete && replay !== "safe") throw new OutcomeUnknown(CUT);
  const past = channel.pastCalls.take(name, args);
  if (!past) return { call: await turn.toolCalled(name, args) };
  const { call, result } = past;
  if (result) return { value: resultOf(result, past) };
  switch (past.state) {
    case "asked":
    case "asked_again":
      return afterAnswer(call, await channel.answerToQuestion(call));
    case "at_client":
      return { value: resultOf(await turn.clientRuns(call)) };
  }
  switch (replay) {
    case "safe":
      await channel.request(crypto.randomUUID(), { verb: "tool_retried", call });
      return { call };
    case "ask": {
      await channel.askAboutRetry(call, timeout);
      return afterAnswer(call, await channel.answerToQuestion(call));
    }
    case "never":
      await turn.toolReturned(call, UNKNOWN, { status: "unknown" });
      throw new OutcomeUnknown(UNKNOWN);
  }
}

function afterAnswer(call: string, answer: CallAnswer): Begun {
  if (answer.type === "tool_returned") return { value: resultOf(answer) };
  if (answer.decision === "approved") return { call };
  if (answer.decision === "void") throw new EndedError(`call ${call} ended before a decision`);
  throw refusal(`call ${call} must not run: ${answer.decision}`);
}

/** Returns a result's value, or throws its error. */
function resultOf(
  { status, text, content }: { status: ToolStatus; text: string; content?: JsonValue },
  past?: PastCall,
): JsonValue {
  if (past?.refused) throw refusal(text);
  if (status === "error") throw new CallFailedError(text);
  if (status === "unknown") throw new OutcomeUnknown(text);
  return content ?? text;
}

const refusal = (reason: string) =>
  new RefusedError({ type: "refused", code: "forbidden", reason, retry: false });
