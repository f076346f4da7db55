import type { Decision, Event, JsonValue, LogRecord } from "./wire.js";

/** Result of a call, as the log has it. */
export type PastResult = Extract<Event, { kind: "tool_returned" }>;

/**
 * Call of an earlier attempt of a turn. `asked_again` waits for leave to repeat the call. Of a call
 * that is `in_doubt` nobody knows whether its tool ran.
 */
export interface PastCall {
  call: string;
  state: "returned" | "asked" | "asked_again" | "at_client" | "in_doubt";
  /** Whether the owner did not allow the call, so that it never ran. */
  refused: boolean;
  result?: PastResult;
}

/**
 * Calls of a resumed turn that earlier attempts made. The n-th request for a name and arguments gets
 * the n-th call with these.
 */
export class PastCalls {
  readonly #queues = new Map<string, PastCall[]>();

  constructor(soFar: readonly LogRecord[]) {
    const known = new Map<string, PastCall>();
    for (const { event } of soFar) {
      if (event.kind === "tool_called") {
        const past: PastCall = { call: event.call, state: "in_doubt", refused: false };
        known.set(event.call, past);
        const key = keyOf(event.name, event.args);
        this.#queues.set(key, [...(this.#queues.get(key) ?? []), past]);
        continue;
      }
      const past = "call" in event ? known.get(event.call) : undefined;
      if (past) apply(past, event);
    }
  }

  /** Takes the next call with this name and these arguments. */
  take(name: string, args: Record<string, unknown>): PastCall | undefined {
    return this.#queues.get(keyOf(name, args))?.shift();
  }
}

function apply(past: PastCall, event: Event): void {
  const isRefusal = (decision: Decision) => decision === "denied" || decision === "expired";
  switch (event.kind) {
    case "approval_asked":
      past.state = event.about === "retry" ? "asked_again" : "asked";
      break;
    case "approval_settled":
      past.refused = past.state === "asked" && isRefusal(event.decision);
      past.state = "in_doubt";
      break;
    case "tool_awaited":
      past.state = "at_client";
      break;
    case "tool_returned":
      past.state = "returned";
      past.result = event;
      break;
  }
}

/** Key that is the same for equal arguments, whatever the order of their keys. */
function keyOf(name: string, args: unknown): string {
  return JSON.stringify([name, sorted(JSON.parse(JSON.stringify(args)) as JsonValue)]);
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, one]) => [key, sorted(one as JsonValue)]);
  return Object.fromEntries(entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
}
