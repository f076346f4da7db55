/**
 * A session's frames as what a person sees: one list of entries, in the log's order, and what
 * streams in behind it.
 */
import type { EventFrame, FrameOf, RoomUpdate, Usage } from "thoughtwire";

import { laidOut } from "./plain";

export type Entry =
  | Input
  | {
      kind: "thought" | "message";
      key: string;
      seq?: number;
      at?: string;
      text: string;
      state: "open" | "whole" | "cut";
    }
  | Call
  | {
      kind: "edit";
      key: string;
      seq: number;
      block: string;
      before: string;
      after: string;
      by: string;
    }
  | { kind: "note"; key: string; seq: number; text: string }
  | End;

export interface Input {
  kind: "input";
  key: string;
  seq: number;
  at: string;
  text: string;
  attachments: string[];
  state: "waits" | "said" | "withdrawn";
  /** How it came to the agent, unless its turn began at once. */
  how?: "queued" | "steered";
}

export interface End {
  kind: "end";
  key: string;
  seq: number;
  outcome: string;
  reason: string;
  usage: Usage | undefined;
  /** Whether the whole turn is here, and has no message. */
  silent: boolean;
}

export interface Call {
  kind: "call";
  key: string;
  seq?: number;
  /** While its arguments stream in there is no name yet. */
  name?: string;
  args: string;
  began?: string;
  returned?: { seq: number; ok: boolean; text: string; content?: unknown; at: string };
  approval?: { seq: number; until: string; asked: string; decision?: string };
  /** Milliseconds that it has waited for its owner. */
  waited?: number;
}

/** The fold. Events make entries; deltas fill the open ones; what is not known is passed over. */
export class Transcript {
  readonly session: string;
  turn: string | undefined;
  /** The oldest position that is here. */
  first = Infinity;
  /** What events have made, and where in it each key stands. */
  readonly #settled: Entry[] = [];
  readonly #at = new Map<string, number>();
  /**
   * What streams in: whoever comes later sees it where its event stands, so everybody sees it
   * behind the rest until then.
   */
  readonly #open = new Map<string, Entry>();
  #usage: Usage | undefined;
  /** Whether the turn has a message so far; not known of a turn whose beginning is not here. */
  #spoke: boolean | undefined;

  constructor(session: string) {
    this.session = session;
  }

  /** In the log's order, but inputs with their answers: those that wait come last. */
  get entries(): Entry[] {
    const waits = (entry: Entry) => entry.kind === "input" && entry.state === "waits";
    const waiting = this.#settled.filter(waits);
    const settled =
      waiting.length === 0 ? this.#settled : this.#settled.filter((entry) => !waits(entry));
    return [...settled, ...this.#open.values(), ...waiting];
  }

  show(frame: RoomUpdate): void {
    // Its start may lie further back than what is here.
    if ("turn" in frame && frame.turn !== undefined) this.turn = frame.turn;
    if (frame.type === "event") return this.#event(frame);
    if (frame.type === "delta" || frame.type === "partial") return this.#piece(frame);
  }

  #put(entry: Entry): void {
    this.#open.delete(entry.key);
    const at = this.#at.get(entry.key);
    if (at === undefined) {
      this.#at.set(entry.key, this.#settled.length);
      this.#settled.push(entry);
    } else {
      this.#settled[at] = entry;
    }
  }

  /** Puts an entry behind all others. */
  #move(entry: Entry): void {
    const at = this.#at.get(entry.key);
    if (at !== undefined && at < this.#settled.length - 1) {
      this.#settled.splice(at, 1);
      this.#at.delete(entry.key);
      for (let n = at; n < this.#settled.length; n += 1) this.#at.set(this.#settled[n]!.key, n);
    }
    this.#put(entry);
  }

  #input(key: string, change: (entry: Input) => Input): void {
    const entry = this.#settled[this.#at.get(key) ?? -1];
    if (entry?.kind === "input") this.#move(change(entry));
  }

  #change<K extends Entry["kind"]>(
    kind: K,
    key: string,
    change: (entry: Extract<Entry, { kind: K }>) => Entry,
  ): void {
    const entry = this.#settled[this.#at.get(key) ?? -1];
    if (entry?.kind === kind) this.#put(change(entry as Extract<Entry, { kind: K }>));
  }

  #event(frame: EventFrame): void {
    const { event, seq, at } = frame;
    this.first = Math.min(this.first, seq);
    const key = `e${seq}`;
    switch (event.kind) {
      case "user_message":
        return this.#put({
          kind: "input",
          key: event.item,
          seq,
          at,
          text: event.text,
          attachments: event.attachments ?? [],
          ...(frame.turn
            ? { state: "said", how: "steered" }
            : { state: "waits", how: this.turn === undefined ? undefined : "queued" }),
        });
      case "input_withdrawn":
        return this.#input(event.input, (entry) => ({ ...entry, state: "withdrawn" }));
      case "turn_started":
        this.#spoke = false;
        return this.#input(event.input, (entry) => ({ ...entry, state: "said" }));
      case "thought":
      case "message":
        if (event.kind === "message" && this.#spoke !== undefined && event.text.trim() !== "")
          this.#spoke = true;
        return this.#put({
          kind: event.kind,
          key: event.item,
          seq,
          at,
          text: event.text,
          state: event.complete ? "whole" : "cut",
        });
      case "tool_called":
        return this.#put({
          kind: "call",
          key: event.call,
          seq,
          name: event.name,
          args: laidOut(event.args),
          began: at,
        });
      case "approval_asked":
        return this.#change("call", event.call, (call) => ({
          ...call,
          approval: { seq, until: event.expires_at, asked: at },
        }));
      case "approval_settled":
        return this.#change("call", event.call, (call) => {
          const waited =
            (call.waited ?? 0) + Date.parse(at) - Date.parse(call.approval?.asked ?? at);
          return {
            ...call,
            waited,
            approval: { seq, until: "", asked: at, ...call.approval, decision: event.decision },
          };
        });
      case "tool_returned":
        return this.#change("call", event.call, (call) => ({
          ...call,
          returned: {
            seq,
            ok: event.status === "success",
            text: event.text,
            content: event.content,
            at,
          },
        }));
      case "memory_edited":
        return this.#put({
          kind: "edit",
          key,
          seq,
          block: event.block,
          before: event.before,
          after: event.after,
          by: event.by,
        });
      case "usage":
        this.#usage = event;
        return;
      case "compacted":
        return this.#put({
          kind: "note",
          key,
          seq,
          text: `The oldest part of the conversation was summed up: ${event.summary}`,
        });
      case "session_renamed":
        return this.#put({
          kind: "note",
          key,
          seq,
          text: `The session is now called “${event.title}”.`,
        });
      case "instructions_changed":
        return this.#put({
          kind: "note",
          key,
          seq,
          text: `Instructions: ${event.instructions || "(none)"}`,
        });
      case "turn_ended":
        this.turn = undefined;
        // Arguments of a call that was never made are gone with the turn.
        this.#open.clear();
        this.#put({
          kind: "end",
          key,
          seq,
          outcome: event.outcome,
          reason: event.reason ?? "",
          usage: this.#usage,
          silent: this.#spoke === false,
        });
        this.#usage = undefined;
        this.#spoke = undefined;
        return;
      case "session_opened":
        if (event.instructions)
          this.#put({ kind: "note", key, seq, text: `Instructions: ${event.instructions}` });
        event.history?.forEach(({ role, text }, n) => {
          const said = { key: `${key}.${n}`, seq, at, text };
          this.#put(
            role === "user"
              ? { kind: "input", ...said, attachments: [], state: "said" }
              : { kind: "message", ...said, state: "whole" },
          );
        });
        return;
      default:
        // `tool_awaited`, and kinds of a newer server.
        return;
    }
  }

  #piece(frame: FrameOf<"delta"> | FrameOf<"partial">): void {
    // The item's event is the last word on it.
    if (this.#at.has(frame.item)) return;
    const known = this.#open.get(frame.item);
    const whole = frame.type === "partial";
    if (frame.kind === "tool_args") {
      const before = !whole && known?.kind === "call" ? known.args : "";
      this.#open.set(frame.item, { kind: "call", key: frame.item, args: before + frame.text });
    } else {
      const before = !whole && known?.kind === frame.kind ? known.text : "";
      this.#open.set(frame.item, {
        kind: frame.kind,
        key: frame.item,
        text: before + frame.text,
        state: "open",
      });
    }
  }

  /** The same transcript with older events in front. */
  static of(
    session: string,
    older: EventFrame[],
    newer: Transcript,
    live: EventFrame[],
  ): Transcript {
    const transcript = new Transcript(session);
    for (const frame of [...older, ...live]) transcript.show({ ...frame, type: "event", session });
    for (const [key, entry] of newer.#open) transcript.#open.set(key, entry);
    transcript.turn = newer.turn;
    return transcript;
  }
}
