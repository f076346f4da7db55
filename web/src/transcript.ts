/** A session's frames as what a person sees: one list of entries, in the order in which they began. */
import type { EventFrame, FrameOf, Shown } from "thoughtwire";

export type Entry =
  | { kind: "input"; key: string; seq: number; at: string; text: string; attachments: string[]; state: "waits" | "said" | "withdrawn" }
  | { kind: "thought" | "message"; key: string; seq?: number; at?: string; text: string; state: "open" | "whole" | "cut" }
  | Call
  | { kind: "edit"; key: string; seq: number; block: string; before: string; after: string; by: string }
  | { kind: "note"; key: string; seq: number; text: string }
  | { kind: "usage"; key: string; seq: number; input: number; output: number; cached?: number }
  | { kind: "end"; key: string; seq: number; outcome: string; reason: string };

export interface Call {
  kind: "call";
  key: string;
  seq?: number;
  /** While its arguments stream in there is no name yet. */
  name?: string;
  args: string;
  began?: string;
  returned?: { ok: boolean; text: string; at: string };
  approval?: { until: string; decision?: string };
}

/** The fold. Events make entries; deltas fill the open ones; what is not known is passed over. */
export class Transcript {
  readonly session: string;
  entries: Entry[] = [];
  turn: string | undefined;
  usage = { input: 0, output: 0 };
  #at = new Map<string, number>();

  constructor(session: string) {
    this.session = session;
  }

  /** The oldest position that is here. */
  first = Infinity;

  show(frame: Shown): void {
    if (frame.type === "event") return this.#event(frame);
    if (frame.type === "delta" || frame.type === "partial") return this.#piece(frame);
  }

  /** The call that has waited longest for leave. */
  get asking(): Call | undefined {
    return this.entries.find(
      (entry): entry is Call => entry.kind === "call" && !!entry.approval && !entry.approval.decision && !entry.returned,
    );
  }

  /** The inputs that wait for their turn. */
  get waiting(): (Entry & { kind: "input" })[] {
    return this.entries.filter((entry) => entry.kind === "input" && entry.state === "waits") as (Entry & { kind: "input" })[];
  }

  #put(entry: Entry): void {
    const at = this.#at.get(entry.key);
    if (at === undefined) {
      this.#at.set(entry.key, this.entries.length);
      this.entries.push(entry);
    } else {
      this.entries[at] = entry;
    }
  }

  #get(key: string): Entry | undefined {
    const at = this.#at.get(key);
    return at === undefined ? undefined : this.entries[at];
  }

  #change<K extends Entry["kind"]>(kind: K, key: string, change: (entry: Extract<Entry, { kind: K }>) => Entry): void {
    const entry = this.#get(key);
    if (entry?.kind === kind) this.#put(change(entry as Extract<Entry, { kind: K }>));
  }

  #event(frame: EventFrame): void {
    const { event, seq, at } = frame;
    this.first = Math.min(this.first, seq);
    const key = `e${seq}`;
    switch (event.kind) {
      case "user_message":
        return this.#put({
          kind: "input", key: event.item, seq, at, text: event.text, attachments: event.attachments ?? [],
          state: frame.turn ? "said" : "waits",
        });
      case "input_withdrawn":
        return this.#change("input", event.input, (entry) => ({ ...entry, state: "withdrawn" }));
      case "turn_started":
        this.turn = frame.turn;
        return this.#change("input", event.input, (entry) => ({ ...entry, state: "said" }));
      case "thought":
      case "message":
        return this.#put({ kind: event.kind, key: event.item, seq, at, text: event.text, state: event.complete ? "whole" : "cut" });
      case "tool_called":
        return this.#put({ kind: "call", key: event.call, seq, name: event.name, args: JSON.stringify(event.args, null, 2), began: at });
      case "approval_asked":
        return this.#change("call", event.call, (call) => ({ ...call, approval: { until: event.expires_at } }));
      case "approval_settled":
        return this.#change("call", event.call, (call) => ({ ...call, approval: { until: "", ...call.approval, decision: event.decision } }));
      case "tool_returned":
        return this.#change("call", event.call, (call) => ({ ...call, returned: { ok: event.status === "success", text: event.text, at } }));
      case "memory_edited":
        return this.#put({ kind: "edit", key, seq, block: event.block, before: event.before, after: event.after, by: event.by });
      case "usage":
        this.usage = { input: this.usage.input + event.input_tokens, output: this.usage.output + event.output_tokens };
        return this.#put({
          kind: "usage", key, seq, input: event.input_tokens, output: event.output_tokens,
          ...(event.cached_tokens === undefined ? {} : { cached: event.cached_tokens }),
        });
      case "compacted":
        return this.#put({ kind: "note", key, seq, text: `The oldest part of the conversation was summed up: ${event.summary}` });
      case "session_renamed":
        return this.#put({ kind: "note", key, seq, text: `The session is now called “${event.title}”.` });
      case "instructions_changed":
        return this.#put({ kind: "note", key, seq, text: `Instructions: ${event.instructions || "(none)"}` });
      case "turn_ended":
        this.turn = undefined;
        this.#endOpen();
        if (event.outcome === "completed") return;
        return this.#put({ kind: "end", key, seq, outcome: event.outcome, reason: event.reason ?? "" });
      default:
        // `session_opened`, `tool_awaited`, and kinds of a newer server.
        return;
    }
  }

  #piece(frame: FrameOf<"delta"> | FrameOf<"partial">): void {
    const whole = frame.type === "partial";
    if (frame.kind === "tool_args") {
      const known = this.#get(frame.item);
      if (known && (known.kind !== "call" || known.name !== undefined)) return;
      const before = !whole && known?.kind === "call" ? known.args : "";
      return this.#put({ kind: "call", key: frame.item, args: before + frame.text });
    }
    const known = this.#get(frame.item);
    // The item's event is the last word on it.
    if (known && (known.kind !== frame.kind || known.state !== "open")) return;
    const before = !whole && known?.kind === frame.kind ? known.text : "";
    this.#put({ kind: frame.kind, key: frame.item, text: before + frame.text, state: "open" });
  }

  /** What a turn left open without an event (arguments of a call that was never made) is gone with it. */
  #endOpen(): void {
    const gone = (entry: Entry) => (entry.kind === "call" && entry.name === undefined) || ("state" in entry && entry.state === "open");
    if (!this.entries.some(gone)) return;
    this.entries = this.entries.filter((entry) => !gone(entry));
    this.#at = new Map(this.entries.map((entry, at) => [entry.key, at]));
  }

  /** The same transcript with older events in front. */
  static of(session: string, older: EventFrame[], newer: Transcript, live: EventFrame[]): Transcript {
    const transcript = new Transcript(session);
    for (const frame of [...older, ...live]) transcript.show({ ...frame, type: "event", session });
    for (const entry of newer.entries) if ("state" in entry && entry.state === "open") transcript.#put(entry);
    transcript.turn = newer.turn;
    return transcript;
  }
}
