import type { Event, JsonValue, Run } from "./wire.js";

/** Result of a call, as an event or a frame has it. */
export interface ReturnedCall {
  status: "success" | "error" | "unknown";
  text: string;
  content?: JsonValue;
}

/** Call of an earlier run of a turn. */
export interface PastCall {
  call: string;
  /** Its result; absent while it is open. */
  returned?: ReturnedCall;
  /** Whether it is open and nobody was asked about it, so that its outcome is unknown. */
  isInDoubt: boolean;
}

/** Calls of a resumed turn's past. Each is taken once. */
export class PastCalls {
  /** Whether all calls are there. The server cuts the past of a turn that has sent a lot. */
  readonly isWhole: boolean;
  readonly #calls = new Map<string, PastCall[]>();

  constructor(run: Run) {
    const own = ownEvents(run);
    this.isWhole = !run.resumed || own.some((event) => event.kind === "turn_started");
    const returned = new Map<string, ReturnedCall>();
    for (const event of own) if (event.kind === "tool_returned") returned.set(event.call, event);
    const asked = askedCalls(own);
    for (const event of own) {
      if (event.kind !== "tool_called") continue;
      const result = returned.get(event.call);
      // Not by `run.unknown`: older servers leave it empty for a process that comes back under its
      // worker's name.
      const isInDoubt = result === undefined && !asked.has(event.call);
      const past = { call: event.call, isInDoubt, ...(result ? { returned: result } : {}) };
      const key = keyOf(event.name, event.args);
      this.#calls.set(key, [...(this.#calls.get(key) ?? []), past]);
    }
  }

  /** Takes the first call of a tool with these arguments that was not taken yet. */
  take(name: string, args: Record<string, unknown>): PastCall | undefined {
    return this.#calls.get(keyOf(name, args))?.shift();
  }
}

/** Returns a turn's own past events, in order. */
export function ownEvents({ turn, history = [] }: Run): Event[] {
  return history.filter((record) => record.turn === turn).map((record) => record.event);
}

/** Returns the calls about which the owner or a client was asked and has not answered. */
function askedCalls(own: Event[]): Set<string> {
  const asked = new Set<string>();
  for (const event of own) {
    if (event.kind === "approval_asked" || event.kind === "tool_awaited") asked.add(event.call);
    else if (event.kind === "approval_settled") asked.delete(event.call);
  }
  return asked;
}

/** Returns the same text for a tool and arguments that are equal as JSON. */
function keyOf(name: string, args: Record<string, unknown>): string {
  const sorted = (_: string, value: unknown): unknown =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return JSON.stringify([name, args], sorted);
}
