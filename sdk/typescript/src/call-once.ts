import { CallFailed, EndedError, OutcomeUnknown, RefusedError } from "./errors.js";
import type { PastCall, ReturnedCall } from "./past-calls.js";
import type { CallAnswer, TurnChannel } from "./turn-channel.js";
import type { JsonValue, Replay, ToolStatus } from "./wire.js";

/** Options of `Interface.callOnce`. */
export interface CallOnceOptions {
  /**
   * Treatment of a call whose outcome is unknown, since its worker was lost while the call ran.
   * `safe` makes it again. `ask` asks the owner, within an hour, whether to make it again or what
   * became of it. `never` does neither. The default is the class that the offer's `tools` declare,
   * or `ask` without one.
   */
  replay?: Replay;
}

/** Makes a call. Gets the call's id, which is the same in each run: an idempotency key. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function may return nothing.
export type MakeCall = (call: string) => Promise<JsonValue | void> | JsonValue | void;

/** Next step of a call: to make it now, or to take its result. */
type Step = { due: string } | { result: JsonValue };

/** Makes a call of a turn that may start over; see `Interface.callOnce`. */
export async function callOnce(
  channel: TurnChannel,
  name: string,
  args: Record<string, unknown>,
  make: MakeCall,
  { replay = channel.replayClasses.get(name) ?? "ask" }: CallOnceOptions,
): Promise<JsonValue> {
  // The oldest calls are missing then, so that the n-th call of the rest is another one.
  if (!channel.pastCalls.isWhole) {
    throw new OutcomeUnknown(name, "the turn's past is too large to come as a whole");
  }
  const past = channel.pastCalls.take(name, args);
  const step = past
    ? await again(channel, name, past, replay)
    : { due: await announce(channel, name, args) };
  if ("result" in step) return step.result;
  let recorded: { text: string; content?: JsonValue };
  try {
    recorded = toRecorded(await make(step.due));
  } catch (error) {
    if (!channel.signal.aborted) await sendResult(channel, step.due, "error", textOf(error));
    throw error;
  }
  await sendResult(channel, step.due, "success", recorded.text, recorded.content);
  return recorded.content ?? recorded.text;
}

async function announce(
  channel: TurnChannel,
  name: string,
  args: Record<string, unknown>,
): Promise<string> {
  const call = crypto.randomUUID();
  const verb = { verb: "tool_called" as const, name, args: args as Record<string, JsonValue> };
  await channel.request(call, verb);
  return call;
}

async function again(
  channel: TurnChannel,
  name: string,
  { call, returned, isInDoubt }: PastCall,
  replay: Replay,
): Promise<Step> {
  if (returned) return { result: resultOf(name, returned) };
  if (!isInDoubt) return answered(name, await channel.answerAbout(call));
  switch (replay) {
    case "safe":
      await channel.request(crypto.randomUUID(), { verb: "tool_retried", call });
      return { due: call };
    case "ask":
      return answered(name, await channel.mayRetry(call));
    case "never": {
      const reason = "it was running when its worker was lost";
      await sendResult(channel, call, "unknown", `The outcome is unknown: ${reason}.`);
      throw new OutcomeUnknown(name, reason);
    }
  }
}

function answered(name: string, answer: CallAnswer): Step {
  if (answer.type === "tool_returned") return { result: resultOf(name, answer) };
  switch (answer.decision) {
    case "approved":
      return { due: answer.call };
    case "void":
      throw new EndedError("the turn has ended");
    case "denied":
    case "expired":
    case "done": {
      const reason = `the owner did not allow the call of ${name}`;
      throw new RefusedError({ type: "refused", code: "forbidden", reason, retry: false });
    }
  }
}

function resultOf(name: string, { status, text, content }: ReturnedCall): JsonValue {
  switch (status) {
    case "success":
      return content ?? text;
    case "error":
      throw new CallFailed(text);
    case "unknown":
      throw new OutcomeUnknown(name, text);
  }
}

/**
 * Returns the text and the content that are stored for a result.
 *
 * @throws {TypeError} when the result is not a value of JSON.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a function may return nothing.
function toRecorded(result: JsonValue | void): { text: string; content?: JsonValue } {
  if (result === undefined || result === null) return { text: "" };
  if (typeof result === "string") return { text: result };
  const text = JSON.stringify(result) as string | undefined;
  if (text === undefined) {
    throw new TypeError(`a call's result must be a value of JSON, not a ${typeof result}`);
  }
  return { text, content: JSON.parse(text) as JsonValue };
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text || "Error";
}

function sendResult(
  channel: TurnChannel,
  call: string,
  status: ToolStatus,
  text: string,
  content?: JsonValue,
): Promise<void> {
  const verb = { verb: "tool_returned" as const, call, status, text };
  const whole = content === undefined ? verb : { ...verb, content };
  return channel.send(crypto.randomUUID(), whole);
}
