/** Fold of a session's frames into the entries that the page shows. */
import type { Event, EventFrame, FrameOf, RoomUpdate, ToolStatus, Usage } from "thoughtwire";

import { formatJson } from "./plain";

export type TranscriptEntry =
  | InputEntry
  | TextEntry
  | CallEntry
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
  | TurnEndEntry;

/** A thought or message. A text that was cut and continued is one entry. */
export interface TextEntry {
  kind: "thought" | "message";
  /** The first item, if others continue it. */
  key: string;
  seq?: number;
  at?: string;
  text: string;
  state: "open" | "whole" | "cut";
  /** Positions in the text at which it was cut and continued. 0 if the first part is not loaded. */
  seams: number[];
  /** The cut item whose text an open one continues. */
  continues?: string | undefined;
}

export interface InputEntry {
  kind: "input";
  key: string;
  seq: number;
  at: string;
  text: string;
  attachments: string[];
  state: "waits" | "said" | "withdrawn";
  /** How the input reached the agent, unless it started a turn at once. */
  how?: "queued" | "steered";
}

export interface TurnEndEntry {
  kind: "end";
  key: string;
  seq: number;
  outcome: string;
  reason: string;
  usage: Usage | undefined;
  /** Whether the turn is complete here and has no message. */
  silent: boolean;
}

export interface CallEntry {
  kind: "call";
  key: string;
  seq?: number;
  /** Missing while the arguments are streamed. */
  name?: string;
  args: string;
  began?: string;
  returned?: { seq: number; status: ToolStatus; text: string; content?: unknown; at: string };
  /** The newest approval: to run, or to run again although the call may have taken effect. */
  approval?: {
    seq: number;
    until: string;
    asked: string;
    about: "run" | "retry";
    decision?: string;
  };
  /** How many times the call was made again after an interruption. */
  retries?: number;
  /** Time that the call waited for approval, in milliseconds. */
  waited?: number;
}

/** Causes of an interruption, by reason. */
const CAUSES: Record<string, string> = {
  restart: "The server was restarted",
  moved: "The session moved to another server",
  worker_lost: "The worker was lost",
};

/** Events make entries, deltas extend the open ones. Unknown kinds are ignored. */
export class Transcript {
  readonly session: string;
  turn: string | undefined;
  /** Lowest position in the transcript. */
  first = Infinity;
  /** Entries made by events, and the index of each key. */
  readonly #entries: TranscriptEntry[] = [];
  readonly #index = new Map<string, number>();
  /** Streaming entries. They are shown after all others until their event settles their place. */
  readonly #open = new Map<string, TextEntry | CallEntry>();
  /** Keys of the entries with the cut texts of the running turn, by item. */
  readonly #cut = new Map<string, string>();
  /** Items whose text was joined to another entry. */
  readonly #joined = new Set<string>();
  /** Texts with what is streamed behind them, by the open entry, so that each is made once. */
  readonly #growing = new WeakMap<TextEntry, TextEntry>();
  #usage: Usage | undefined;
  /** Whether the turn has a message so far; `undefined` if its start is not loaded. */
  #hasMessage: boolean | undefined;

  constructor(session: string) {
    this.session = session;
  }

  /** Entries in the order of the log, except that waiting inputs come last. */
  get entries(): TranscriptEntry[] {
    const waits = (entry: TranscriptEntry) => entry.kind === "input" && entry.state === "waits";
    const waiting = this.#entries.filter(waits);
    const settled = this.#entries.filter((entry) => !waits(entry));
    const open = [...this.#open.values()].filter((entry) => {
      const cut = this.#continued(entry);
      if (cut) settled[settled.indexOf(cut)] = this.#grown(cut, entry as TextEntry);
      return !cut;
    });
    return [...settled, ...open, ...waiting];
  }

  /** Returns the text that an open item continues. The item's event decides. */
  #continued(open: TextEntry | CallEntry): TextEntry | undefined {
    if (open.kind === "call") return undefined;
    const cut = this.#cutText(open.continues);
    return cut?.kind === open.kind ? cut : undefined;
  }

  /** Returns the entry with the text of an item that was cut. */
  #cutText(item: string | undefined): TranscriptEntry | undefined {
    return this.#entries[this.#index.get(this.#cut.get(item ?? "") ?? "") ?? -1];
  }

  #grown(cut: TextEntry, open: TextEntry): TextEntry {
    const grown = this.#growing.get(open) ?? join(cut, open.text, "open");
    this.#growing.set(open, grown);
    return grown;
  }

  apply(frame: RoomUpdate): void {
    // The start of the turn may not be loaded.
    if ("turn" in frame && frame.turn !== undefined) this.turn = frame.turn;
    if (frame.type === "event") return this.#event(frame);
    if (frame.type === "delta" || frame.type === "partial") return this.#delta(frame);
  }

  #set(entry: TranscriptEntry): void {
    this.#open.delete(entry.key);
    const at = this.#index.get(entry.key);
    if (at === undefined) {
      this.#index.set(entry.key, this.#entries.length);
      this.#entries.push(entry);
    } else {
      this.#entries[at] = entry;
    }
  }

  /** Moves an entry to the end. */
  #move(entry: TranscriptEntry): void {
    const at = this.#index.get(entry.key);
    if (at !== undefined && at < this.#entries.length - 1) {
      this.#entries.splice(at, 1);
      this.#index.delete(entry.key);
      for (let n = at; n < this.#entries.length; n += 1) this.#index.set(this.#entries[n]!.key, n);
    }
    this.#set(entry);
  }

  #input(key: string, change: (entry: InputEntry) => InputEntry): void {
    const entry = this.#entries[this.#index.get(key) ?? -1];
    if (entry?.kind === "input") this.#move(change(entry));
  }

  #change<K extends TranscriptEntry["kind"]>(
    kind: K,
    key: string,
    change: (entry: Extract<TranscriptEntry, { kind: K }>) => TranscriptEntry,
  ): void {
    const entry = this.#entries[this.#index.get(key) ?? -1];
    if (entry?.kind === kind) this.#set(change(entry as Extract<TranscriptEntry, { kind: K }>));
  }

  #event(frame: EventFrame): void {
    const { event, seq, at } = frame;
    this.first = Math.min(this.first, seq);
    const key = `e${seq}`;
    switch (event.kind) {
      case "user_message":
        return this.#set({
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
        this.#hasMessage = false;
        this.#forgetCuts();
        return this.#input(event.input, (entry) => ({ ...entry, state: "said" }));
      case "thought":
      case "message":
        if (event.kind === "message" && this.#hasMessage !== undefined && event.text.trim() !== "")
          this.#hasMessage = true;
        return this.#text(frame, event);
      case "turn_resumed":
        // Items without an event were lost in the interruption.
        this.#open.clear();
        return this.#set({
          kind: "note",
          key,
          seq,
          text: `${CAUSES[event.reason]}; the turn goes on.`,
        });
      case "tool_called":
        return this.#set({
          kind: "call",
          key: event.call,
          seq,
          name: event.name,
          args: formatJson(event.args),
          began: at,
        });
      case "approval_asked":
        return this.#change("call", event.call, (call) => ({
          ...call,
          approval: { seq, until: event.expires_at, asked: at, about: event.about ?? "run" },
        }));
      case "tool_retried":
        return this.#change("call", event.call, (call) => ({ ...call, retries: event.attempt }));
      case "approval_settled":
        return this.#change("call", event.call, (call) => {
          const waited =
            (call.waited ?? 0) + Date.parse(at) - Date.parse(call.approval?.asked ?? at);
          return {
            ...call,
            waited,
            approval: {
              seq,
              until: "",
              asked: at,
              about: "run",
              ...call.approval,
              decision: event.decision,
            },
          };
        });
      case "tool_returned":
        return this.#change("call", event.call, (call) => ({
          ...call,
          returned: {
            seq,
            status: event.status,
            text: event.text,
            content: event.content,
            at,
          },
        }));
      case "memory_edited":
        return this.#set({
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
        return this.#set({
          kind: "note",
          key,
          seq,
          text: `Earlier messages were summarized: ${event.summary}`,
        });
      case "session_renamed":
        return this.#set({
          kind: "note",
          key,
          seq,
          text: `The session is now called “${event.title}”.`,
        });
      case "instructions_changed":
        return this.#set({
          kind: "note",
          key,
          seq,
          text: `Instructions: ${event.instructions || "(none)"}`,
        });
      case "turn_ended":
        this.turn = undefined;
        // Streamed arguments of a call that was never made.
        this.#open.clear();
        this.#forgetCuts();
        this.#set({
          kind: "end",
          key,
          seq,
          outcome: event.outcome,
          reason: event.reason ?? "",
          usage: this.#usage,
          silent: this.#hasMessage === false,
        });
        this.#usage = undefined;
        this.#hasMessage = undefined;
        return;
      case "session_opened":
        if (event.instructions)
          this.#set({ kind: "note", key, seq, text: `Instructions: ${event.instructions}` });
        event.history?.forEach(({ role, text }, n) => {
          const said = { key: `${key}.${n}`, seq, at, text };
          this.#set(
            role === "user"
              ? { kind: "input", ...said, attachments: [], state: "said" }
              : { kind: "message", ...said, state: "whole", seams: [] },
          );
        });
        return;
      default:
        // `tool_awaited`, and kinds of a newer server.
        return;
    }
  }

  /** Adds a text, or joins it to the cut one that it continues. */
  #text(frame: EventFrame, said: Event & { kind: "thought" | "message" }): void {
    const { kind, item, continues } = said;
    const state = said.complete ? "whole" : "cut";
    const cut = this.#cutText(continues);
    const isJoined = cut?.kind === kind;
    const entry: TextEntry = isJoined
      ? join(cut, said.text, state)
      : {
          kind,
          key: item,
          seq: frame.seq,
          at: frame.at,
          text: said.text,
          state,
          seams: continues === undefined ? [] : [0],
        };
    if (isJoined) this.#joined.add(item);
    this.#open.delete(item);
    if (!said.complete) this.#cut.set(item, entry.key);
    this.#set(entry);
  }

  /** Forgets the cut texts of a turn, which another turn does not continue. */
  #forgetCuts(): void {
    this.#cut.clear();
    this.#joined.clear();
  }

  #delta(frame: FrameOf<"delta"> | FrameOf<"partial">): void {
    // The item's event is final.
    if (this.#index.has(frame.item) || this.#joined.has(frame.item)) return;
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
        seams: [],
        continues: frame.continues ?? (known?.kind === frame.kind ? known.continues : undefined),
      });
    }
  }

  /** Returns the same transcript with older events before it. */
  static prepend(
    session: string,
    older: EventFrame[],
    newer: Transcript,
    live: EventFrame[],
  ): Transcript {
    const transcript = new Transcript(session);
    for (const frame of [...older, ...live]) transcript.apply({ ...frame, type: "event", session });
    for (const [key, entry] of newer.#open) transcript.#open.set(key, entry);
    transcript.turn = newer.turn;
    return transcript;
  }
}

/** Returns a text with another one behind it. */
const join = (cut: TextEntry, more: string, state: TextEntry["state"]): TextEntry => ({
  ...cut,
  text: cut.text + more,
  state,
  seams: [...cut.seams, cut.text.length],
});
