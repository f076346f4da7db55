import type { Client } from "./client.js";
import type { CommandOptions, SendOptions } from "./commands.js";
import { ClosedError, type RefusedError } from "./errors.js";
import { Queue } from "./queue.js";
import type {
  Ack,
  ClientFrame,
  EventFrame,
  FrameOf,
  ServerFrame,
  ToolDeclaration,
  Verdict,
} from "./wire.js";

/** Unread updates at which the room detaches from the session (backpressure). */
const HIGH_WATER = 1_000;
/** Unread updates at which a paused room attaches again. */
const LOW_WATER = 100;
/** Pause before an attach that was refused for the moment is sent again, in milliseconds. */
const RETRY_AFTER = 1_000;

/** Runs a tool that the agent called. Returns the result as text, or throws. */
export type RunTool = (
  args: Record<string, unknown>,
  call: { call: string; name: string },
) => Promise<string> | string;

/** Options of {@link Client.attach}. */
export interface AttachOptions {
  /**
   * Position after which events are sent; 0 sends the whole log. Without `after` and `last`, only
   * new events are sent.
   */
  after?: number;
  /** Epoch of the log that `after` refers to. */
  epoch?: string;
  /** Number of newest events to begin with. */
  last?: number;
  /** Leaves the session when aborted. */
  signal?: AbortSignal;
  /** Tools that this client runs, by name. */
  tools?: Record<string, Omit<ToolDeclaration, "name"> & { run: RunTool }>;
}

/** Element of a {@link Room}'s iteration. */
export type RoomUpdate =
  | EventFrame
  | FrameOf<"delta">
  | FrameOf<"partial">
  | FrameOf<"status">
  | FrameOf<"presence">
  | FrameOf<"caught_up">
  /** The cursor was not valid any more. Discard what you have of the session; all of it follows. */
  | { type: "reset"; session: string; epoch: string };

/** Access of a room to the client that made it. */
interface RoomContext {
  client: Client;
  write: (frame: ClientFrame) => void;
  onEnd: () => void;
}

interface ClientToolCall {
  name: string;
  args: Record<string, unknown>;
}

/**
 * A client's attachment to one session, across any number of connections.
 *
 * Iterate over it: each event comes once and in order. Deltas and statuses come only while they are
 * live. A slow reader does not fill memory: at 1,000 unread updates the room detaches, and attaches
 * again at its cursor when most of them are read.
 */
export class Room implements AsyncIterable<RoomUpdate> {
  /** The session's id. */
  readonly session: string;
  readonly #options: AttachOptions;
  readonly #context: RoomContext;
  readonly #queue = new Queue<RoomUpdate>();
  /** Calls of this client's tools, by id, until they are returned. */
  readonly #calls = new Map<string, ClientToolCall>();
  /** Calls that wait for a client to run them. */
  readonly #awaited = new Set<string>();
  /** Calls that this room has begun to run. */
  readonly #begun = new Set<string>();
  /** Whether the replay has reached the head of the log. */
  #isLive = false;
  #epoch: string | undefined;
  #seq: number | undefined;
  #phase: "detached" | "attaching" | "attached" | "paused" | "ended" = "detached";

  /** @internal Created by {@link Client.attach}. */
  constructor(session: string, options: AttachOptions, context: RoomContext) {
    this.session = session;
    this.#options = options;
    this.#context = context;
    this.#seq = options.after;
    this.#epoch = options.epoch;
  }

  /** Position of the last event received and the log's epoch: where to resume. */
  get cursor(): { seq: number; epoch: string } | undefined {
    if (this.#seq === undefined || this.#epoch === undefined) return undefined;
    return { seq: this.#seq, epoch: this.#epoch };
  }

  /** Sends an input to the agent; resolves when it is on disk. */
  send(text: string, { policy, attachments, ...options }: SendOptions = {}): Promise<Ack> {
    const extras = {
      ...(policy ? { policy } : {}),
      ...(attachments?.length ? { attachments } : {}),
    };
    const frame = { type: "send" as const, session: this.session, text, ...extras };
    return this.#context.client.command(frame, options);
  }

  /** Cancels the running turn, or only `turn` if that is the running one. */
  async cancel(options?: CommandOptions & { turn?: string }): Promise<void> {
    const { turn, ...rest } = options ?? {};
    const frame = { type: "cancel" as const, session: this.session };
    await this.#context.client.command(turn === undefined ? frame : { ...frame, turn }, rest);
  }

  /** Withdraws a queued input. */
  async withdraw(input: string, options?: CommandOptions): Promise<void> {
    await this.#context.client.command({ type: "withdraw", session: this.session, input }, options);
  }

  /**
   * Approves or denies a tool call that waits for approval. A call that was interrupted may have
   * taken effect (`about` of its `approval_asked` is `retry`): `approved` runs it again, `denied`
   * counts it as failed, and `done` says that it was made, with its `result` if that is known.
   */
  async decide(
    call: string,
    decision: Verdict,
    options?: CommandOptions & { result?: string },
  ): Promise<void> {
    const { result, ...rest } = options ?? {};
    const frame = { type: "decide" as const, session: this.session, call, decision };
    await this.#context.client.command(result === undefined ? frame : { ...frame, result }, rest);
  }

  /** Sets the session's title. */
  async rename(title: string, options?: CommandOptions): Promise<void> {
    await this.#context.client.command({ type: "rename", session: this.session, title }, options);
  }

  /** Leaves the session. The iteration ends after the updates received so far. */
  leave(): void {
    if (this.#phase === "ended") return;
    if (this.#phase === "attached" || this.#phase === "attaching") {
      this.#context.write({ type: "detach", session: this.session });
    }
    this.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<RoomUpdate> {
    return {
      next: async () => {
        const result = await this.#queue.next();
        if (this.#phase === "paused" && this.#queue.size <= LOW_WATER) {
          this.#phase = "detached";
          if (this.#context.client.state === "open") this.connected();
        }
        return result;
      },
      // A loop that breaks off leaves the room attached: it can be iterated again.
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }

  /** @internal The connection is open. */
  connected(): void {
    if (this.#phase === "paused" || this.#phase === "ended") return;
    this.#phase = "attaching";
    const tools = Object.entries(this.#options.tools ?? {}).map(
      ([name, { run: _run, ...declaration }]) => ({ name, ...declaration }),
    );
    // The session is also the id of the attach, so that a refusal of it can be told apart.
    this.#context.write({
      type: "attach",
      id: this.session,
      session: this.session,
      ...this.#start(),
      ...(tools.length ? { tools } : {}),
    });
  }

  #start(): { after?: number; epoch?: string; last?: number } {
    const { last } = this.#options;
    if (this.#seq === undefined) return last === undefined ? {} : { last };
    return { after: this.#seq, ...(this.#epoch === undefined ? {} : { epoch: this.#epoch }) };
  }

  /** @internal The connection is lost. */
  disconnected(): void {
    if (this.#phase === "attached" || this.#phase === "attaching") this.#phase = "detached";
  }

  /** @internal The server refused to attach. */
  refused(error: RefusedError): void {
    if (!error.retry) return this.end(error);
    this.#phase = "detached";
    setTimeout(() => {
      if (this.#phase === "detached" && this.#context.client.state === "open") this.connected();
    }, RETRY_AFTER);
  }

  /** @internal Ends the iteration, with an error if there is one. */
  end(error?: unknown): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#context.onEnd();
    this.#queue.end(error);
  }

  /** @internal A frame about this session has arrived. */
  receive(frame: ServerFrame): void {
    // Frames of an earlier attachment may still arrive. Taken, they would leave a gap.
    const expected = frame.type === "attached" ? "attaching" : "attached";
    if (this.#phase !== expected && frame.type !== "detached") return;
    switch (frame.type) {
      case "attached":
        return this.#onAttached(frame);
      case "detached":
        return this.end(new ClosedError(frame.reason));
      case "event":
        if (this.#seq !== undefined && frame.seq <= this.#seq) return;
        this.#seq = frame.seq;
        this.#trackCalls(frame);
        return this.#push(frame);
      case "caught_up":
        this.#isLive = true;
        this.#runAwaited();
        return this.#push(frame);
      case "delta":
      case "partial":
      case "status":
      case "presence":
        return this.#push(frame);
      default:
        // An unknown type of a newer server.
        return;
    }
  }

  #onAttached({ recovered, epoch, first, head }: FrameOf<"attached">): void {
    if (!recovered || (this.#epoch !== undefined && this.#epoch !== epoch)) {
      this.#seq = first - 1;
      this.#queue.push({ type: "reset", session: this.session, epoch });
    } else if (this.#seq === undefined) {
      const { last } = this.#options;
      this.#seq = last === undefined ? head : Math.max(first - 1, head - last);
    }
    this.#epoch = epoch;
    this.#phase = "attached";
    this.#isLive = false;
  }

  #push(update: RoomUpdate): void {
    this.#queue.push(update);
    if (this.#queue.size >= HIGH_WATER) {
      // Later events are replayed from the log once these are read.
      this.#phase = "paused";
      this.#context.write({ type: "detach", session: this.session });
    }
  }

  #trackCalls({ event }: EventFrame): void {
    if (event.kind === "tool_called" && this.#options.tools?.[event.name]) {
      const args = event.args as Record<string, unknown>;
      this.#calls.set(event.call, { name: event.name, args });
    } else if (event.kind === "tool_returned") {
      this.#calls.delete(event.call);
      this.#awaited.delete(event.call);
      this.#begun.delete(event.call);
    } else if (event.kind === "tool_awaited") {
      this.#awaited.add(event.call);
      if (this.#isLive) this.#runAwaited();
    }
  }

  /**
   * Runs the calls that wait for this client. During replay a later event may show that a call is
   * already settled, so nothing runs before the replay is complete.
   */
  #runAwaited(): void {
    for (const id of this.#awaited) {
      const call = this.#calls.get(id);
      const tool = call && this.#options.tools?.[call.name];
      if (!call || !tool || this.#begun.has(id)) continue;
      this.#begun.add(id);
      void this.#runTool(id, call, tool.run);
    }
    this.#awaited.clear();
  }

  async #runTool(id: string, { name, args }: ClientToolCall, run: RunTool): Promise<void> {
    let result: { status: "success" | "error"; text: string };
    try {
      result = { status: "success", text: await run(args, { call: id, name }) };
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      result = { status: "error", text };
    }
    const frame = { type: "tool_return" as const, session: this.session, call: id, ...result };
    // A refusal means that another client or a timeout was first; the result is not needed.
    await this.#context.client.command(frame).catch(() => {});
  }
}
