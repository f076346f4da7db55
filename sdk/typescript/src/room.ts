import type { Client, CommandOptions, SendOptions } from "./client.js";
import { ClosedError, type RefusedError } from "./errors.js";
import { Queue } from "./queue.js";
import type {
  Ack,
  ClientFrame,
  EventFrame,
  FrameOf,
  ServerFrame,
  ToolDeclaration,
} from "./wire.js";

/** What lies unread before the server is asked to stop, and how little before it is asked to go on. */
const FULL = 1_000;
const LOW = 100;
/** How long until a place is asked for again that was refused for the moment. */
const RETRY_AFTER = 1_000;

/** Runs a tool that the agent called: gives its result as text, or throws what went wrong. */
export type RunTool = (
  args: Record<string, unknown>,
  call: { call: string; name: string },
) => Promise<string> | string;

/** How a place in a session is taken. */
export interface AttachOptions {
  /** Begin behind this position; 0 for everything. Without it and without `last`: at the head. */
  after?: number;
  /** The log's lifetime that `after` is of. */
  epoch?: string;
  /** Begin with the newest so many events. */
  last?: number;
  /** Leaves the session when it says so. */
  signal?: AbortSignal;
  /** Tools that this client runs, by name. */
  tools?: Record<string, Omit<ToolDeclaration, "name"> & { run: RunTool }>;
}

/** What a {@link Room} shows, in order. */
export type Shown =
  | EventFrame
  | FrameOf<"delta">
  | FrameOf<"partial">
  | FrameOf<"status">
  | FrameOf<"presence">
  | FrameOf<"caught_up">
  /** The cursor could not be honoured: throw away what you have of the session, all of it follows. */
  | { type: "reset"; session: string; epoch: string };

/**
 * A place in one session, across any number of connections.
 *
 * Iterate over it: every event comes once, in order; deltas and statuses come while the connection
 * stands. Who reads slowly holds the server up, not the memory: beyond a thousand unread frames the
 * client leaves the session, and comes back at its cursor when most of them are read.
 */
export class Room implements AsyncIterable<Shown> {
  /** The session's id. */
  readonly session: string;
  readonly #options: AttachOptions;
  readonly #client: Client;
  readonly #write: (frame: ClientFrame) => void;
  readonly #left: () => void;
  readonly #queue = new Queue<Shown>();
  /** Calls that wait for a client, and those of them that were begun here. */
  readonly #awaited = new Set<string>();
  readonly #begun = new Set<string>();
  /** The log is read to where it was live. */
  #isLive = false;
  readonly #calls = new Map<string, { name: string; args: Record<string, unknown> }>();
  #epoch: string | undefined;
  #seq: number | undefined;
  #phase: "apart" | "attaching" | "attached" | "held" | "over" = "apart";

  /** @internal Made by {@link Client.attach}. */
  constructor(
    session: string,
    options: AttachOptions,
    client: Client,
    write: (frame: ClientFrame) => void,
    left: () => void,
  ) {
    this.session = session;
    this.#options = options;
    this.#client = client;
    this.#write = write;
    this.#left = left;
    this.#seq = options.after;
    this.#epoch = options.epoch;
  }

  /** Where to resume: the last event that came in, and the log's lifetime. */
  get cursor(): { seq: number; epoch: string } | undefined {
    return this.#seq === undefined || this.#epoch === undefined
      ? undefined
      : { seq: this.#seq, epoch: this.#epoch };
  }

  /** Says something to the agent; resolves when it is on disk. */
  send(text: string, { policy, attachments, ...options }: SendOptions = {}): Promise<Ack> {
    const more = { ...(policy ? { policy } : {}), ...(attachments?.length ? { attachments } : {}) };
    return this.#client.command({ type: "send", session: this.session, text, ...more }, options);
  }

  /** Ends the running turn. */
  async cancel(options?: CommandOptions & { turn?: string }): Promise<void> {
    const { turn, ...rest } = options ?? {};
    await this.#client.command(
      { type: "cancel", session: this.session, ...(turn === undefined ? {} : { turn }) },
      rest,
    );
  }

  /** Takes a queued input back. */
  async withdraw(input: string, options?: CommandOptions): Promise<void> {
    await this.#client.command({ type: "withdraw", session: this.session, input }, options);
  }

  /** Settles an approval. */
  async decide(
    call: string,
    decision: "approved" | "denied",
    options?: CommandOptions,
  ): Promise<void> {
    await this.#client.command({ type: "decide", session: this.session, call, decision }, options);
  }

  /** Gives the session a title. */
  async rename(title: string, options?: CommandOptions): Promise<void> {
    await this.#client.command({ type: "rename", session: this.session, title }, options);
  }

  /** Leaves the session. Iterating ends when what came in is read. */
  leave(): void {
    if (this.#phase === "over") return;
    if (this.#phase === "attached" || this.#phase === "attaching")
      this.#write({ type: "detach", session: this.session });
    this.ended();
  }

  [Symbol.asyncIterator](): AsyncIterator<Shown> {
    return {
      next: async () => {
        const result = await this.#queue.next();
        if (this.#phase === "held" && this.#queue.size <= LOW) {
          this.#phase = "apart";
          if (this.#client.state === "open") this.opened();
        }
        return result;
      },
      // Leaving the loop leaves the room as it is: it may be iterated again.
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }

  /** @internal The connection stands. */
  opened(): void {
    if (this.#phase === "held" || this.#phase === "over") return;
    this.#phase = "attaching";
    const tools = Object.entries(this.#options.tools ?? {}).map(
      ([name, { run: _run, ...declaration }]) => ({ name, ...declaration }),
    );
    const begin =
      this.#seq !== undefined
        ? { after: this.#seq, ...(this.#epoch === undefined ? {} : { epoch: this.#epoch }) }
        : this.#options.last === undefined
          ? {}
          : { last: this.#options.last };
    // The session names the attach, so that a refusal finds its way here.
    this.#write({
      type: "attach",
      id: this.session,
      session: this.session,
      ...begin,
      ...(tools.length ? { tools } : {}),
    });
  }

  /** @internal The connection broke. */
  broke(): void {
    if (this.#phase === "attached" || this.#phase === "attaching") this.#phase = "apart";
  }

  /** @internal The server will not have us here. */
  refused(error: RefusedError): void {
    if (!error.retry) return this.ended(error);
    // The same may succeed in a while.
    this.#phase = "apart";
    setTimeout(() => {
      if (this.#phase === "apart" && this.#client.state === "open") this.opened();
    }, RETRY_AFTER);
  }

  /** @internal */
  ended(error?: unknown): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.#left();
    this.#queue.end(error);
  }

  /** @internal A frame of this session. */
  heard(frame: ServerFrame): void {
    // What is on its way from a place that we left would leave a gap.
    const expected =
      frame.type === "attached" ? this.#phase === "attaching" : this.#phase === "attached";
    if (!expected && frame.type !== "detached") return;
    switch (frame.type) {
      case "attached":
        if (!frame.recovered || (this.#epoch !== undefined && this.#epoch !== frame.epoch)) {
          this.#seq = frame.first - 1;
          this.#queue.push({ type: "reset", session: this.session, epoch: frame.epoch });
        } else if (this.#seq === undefined) {
          const last = this.#options.last;
          this.#seq =
            last === undefined ? frame.head : Math.max(frame.first - 1, frame.head - last);
        }
        this.#epoch = frame.epoch;
        this.#phase = "attached";
        this.#isLive = false;
        return;
      case "detached":
        return this.ended(new ClosedError(frame.reason));
      case "event":
        // Twice the same position cannot be twice the same news.
        if (this.#seq !== undefined && frame.seq <= this.#seq) return;
        this.#seq = frame.seq;
        this.#run(frame);
        return this.#show(frame);
      case "caught_up":
        this.#isLive = true;
        this.#runAwaited();
        return this.#show(frame);
      case "delta":
      case "partial":
      case "status":
      case "presence":
        return this.#show(frame);
      default:
        // Of a newer server, or not of a session.
        return;
    }
  }

  #show(frame: Shown): void {
    this.#queue.push(frame);
    if (this.#queue.size >= FULL) {
      // What comes from now on is read later, from the log.
      this.#phase = "held";
      this.#write({ type: "detach", session: this.session });
    }
  }

  /** Runs the calls of this client's tools, each when its time has come. */
  #run({ event }: EventFrame): void {
    if (event.kind === "tool_called" && this.#options.tools?.[event.name]) {
      this.#calls.set(event.call, {
        name: event.name,
        args: event.args as Record<string, unknown>,
      });
    } else if (event.kind === "tool_returned") {
      this.#calls.delete(event.call);
      this.#awaited.delete(event.call);
      this.#begun.delete(event.call);
    } else if (event.kind === "tool_awaited") {
      this.#awaited.add(event.call);
      if (this.#isLive) this.#runAwaited();
    }
  }

  /** Of what the log tells only that still waits which no later event settles: so not before it is read. */
  #runAwaited(): void {
    for (const call of this.#awaited) {
      const called = this.#calls.get(call);
      const tool = called && this.#options.tools?.[called.name];
      if (!called || !tool || this.#begun.has(call)) continue;
      this.#begun.add(call);
      void this.#answer(call, called, tool.run);
    }
    this.#awaited.clear();
  }

  async #answer(
    call: string,
    called: { name: string; args: Record<string, unknown> },
    run: RunTool,
  ): Promise<void> {
    let outcome: { status: "success" | "error"; text: string };
    try {
      outcome = { status: "success", text: await run(called.args, { call, name: called.name }) };
    } catch (error) {
      outcome = { status: "error", text: error instanceof Error ? error.message : String(error) };
    }
    // Another client, or the clock, may have been first: then there is nothing left to say.
    await this.#client
      .command({ type: "tool_return", session: this.session, call, ...outcome })
      .catch(() => {});
  }
}
