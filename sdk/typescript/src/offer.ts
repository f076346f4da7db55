import type { Client } from "./client.js";
import { deferred } from "./deferred.js";
import { ClosedError, FailedError, RefusedError } from "./errors.js";
import type { FrameHandler, FrameWriter } from "./handler.js";
import { Interface } from "./interface.js";
import { Queue } from "./queue.js";
import { TurnChannel } from "./turn-channel.js";
import type { Ack, Agent, Input, Refused, Run, ServerFrame, ToolDeclaration } from "./wire.js";

/** Number of verbs that may be unacknowledged. With more, the server stops reading. */
const MAX_UNACKED = 64;
/** Pause before an offer that was refused for the moment is sent again, in milliseconds. */
const RETRY_AFTER = 1_000;
/** Time that `stop` waits for the server to acknowledge failed turns, in milliseconds. */
const STOP_ACK_TIMEOUT = 2_000;

/** Answers a turn. The return value is the turn's last message; an exception fails the turn. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function may return nothing.
export type TurnFunction = (turn: Interface) => Promise<string | void> | string | void;

/** Options of {@link offer}. */
export interface OfferOptions {
  /**
   * Name of this worker. A worker that comes back under the same name gets its turns again. By
   * default a random name, which lasts as long as the process.
   */
  worker?: string;
  /** Number of turns that run at once; 1 by default. */
  turns?: number;
  /** Number of newest events that come with a turn. */
  history?: number;
  /** Whether core memory comes with a turn. */
  memory?: boolean;
  /** The agent's own tools, for people and for its permissions. */
  tools?: ToolDeclaration[];
  /**
   * Positions, by session, up to which this program has the log: only newer events come with a
   * turn. Read each time the offer is sent.
   */
  cursors?: Readonly<Record<string, number>>;
  /**
   * Whether this program resumes turns that another process began, or that waited for people when
   * the server was restarted; see `turn.history` and `turn.waiting`. By default it fails them.
   */
  resumes?: boolean;
  /**
   * Whether turns whose worker was lost may go on here. The function starts over, with
   * `turn.soFar`, and makes its calls with `turn.callOnce`. All programs that offer the agent
   * should say the same. Includes `resumes`.
   */
  resumable?: boolean;
  /** Called with errors whose details clients do not see; `console.error` by default. */
  onError?: (error: unknown, turn?: Interface) => void;
}

/**
 * Offers an agent and runs its turns, across any number of connections, until it is stopped or the
 * client is closed.
 *
 * A client offers an agent once; `turns` sets how many of its turns run at the same time.
 *
 * @example
 * ```ts
 * const client = new Client({ url: "ws://127.0.0.1:8282/v1/ws" });
 * const agent = offer(client, "echo", (turn) => `You said: ${turn.userMessage}`);
 * await agent.offered();
 * ```
 *
 * @throws {ClosedError} when the client is closed.
 */
export function offer(
  client: Client,
  agent: string,
  answer: TurnFunction,
  options: OfferOptions = {},
): OfferedAgent {
  return new OfferedAgent(client, agent, answer, options);
}

/**
 * An agent whose turns this program runs. The server keeps sessions, log, clients and approvals.
 */
export class OfferedAgent implements FrameHandler {
  /** The agent's name or id, as offered. */
  readonly name: string;
  /** Name of this worker. */
  readonly worker: string;
  readonly #client: Client;
  readonly #writer: FrameWriter;
  readonly #answer: TurnFunction;
  readonly #options: OfferOptions;
  readonly #accepted = deferred<{ agent: Agent; session: string }>();
  readonly #ended = deferred<void>();
  /** Resolved once the offer is being stopped and no turn runs. */
  readonly #idle = deferred<void>();
  readonly #permits = new Queue<true>();
  readonly #turns = new Map<string, TurnChannel>();
  /** Turns of this worker that the server has not handed out on this connection yet. */
  #expected = new Set<string>();
  /** Id of the offer that is not answered yet. */
  #pendingOffer: string | undefined;
  #agentId: string | undefined;
  /** Whether this process has held the offer on an earlier connection. */
  #isReoffered = false;
  #phase: "offering" | "stopping" | "ended" = "offering";

  /** @internal Created by {@link offer}. */
  constructor(client: Client, name: string, answer: TurnFunction, options: OfferOptions) {
    this.name = name;
    this.worker = options.worker ?? `typescript-${crypto.randomUUID()}`;
    this.#client = client;
    this.#answer = answer;
    this.#options = options;
    for (let n = 0; n < MAX_UNACKED; n += 1) this.#permits.push(true);
    this.#writer = client.register(this);
    this.connected();
  }

  /**
   * Resolves with the agent and its main session when the server has accepted the offer. Rejects as
   * {@link OfferedAgent.ended} does.
   */
  offered(): Promise<{ agent: Agent; session: string }> {
    return this.#accepted.promise;
  }

  /**
   * Resolves when the agent was stopped.
   *
   * Rejects with {@link RefusedError} when the server refuses the offer (`not_offered` for an agent
   * that has a model of its own), and with {@link ClosedError} when the client is closed, the agent
   * is deleted, or another program takes over this worker's name.
   */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Stops taking new turns and waits `grace` seconds for the running ones. Turns that run longer
   * fail.
   *
   * With `resumes`, turns that only wait for people or clients are not waited for and do not fail:
   * a program that offers the agent under this worker's name within 30 seconds resumes them.
   */
  async stop(grace = 10): Promise<void> {
    if (this.#phase !== "offering") return this.#ended.promise.catch(() => {});
    this.#phase = "stopping";
    this.connected();
    if (this.#turns.size > 0 || this.#client.state === "open") {
      this.#checkIdle();
      await settledWithin(grace * 1000, this.#idle.promise);
    }
    const late = [...this.#turns.values()].map(async (turn) => {
      if (this.#isLeft(turn) || this.#options.resumable) return;
      await turn.fail("The agent's program was stopped.", "agent_stopped").catch(() => {});
      this.#forget(turn, "the program was stopped");
    });
    await settledWithin(STOP_ACK_TIMEOUT, Promise.all(late));
    this.#end("the program was stopped");
    this.#ended.resolve();
  }

  /** @internal The connection is open. */
  connected(): void {
    if (this.#client.state !== "open") return;
    const { turns, history, memory, tools, resumable, cursors } = this.#options;
    this.#pendingOffer = crypto.randomUUID();
    const refusal = this.#writer.write(
      JSON.stringify({
        type: "offer",
        id: this.#pendingOffer,
        agent: this.name,
        worker: this.worker,
        turns: this.#phase === "stopping" ? 0 : turns,
        history,
        memory,
        tools,
        resumable,
        cursors,
      }),
    );
    if (refusal) this.#fail(refusal);
  }

  /** @internal The connection is lost. */
  disconnected(): void {
    this.#pendingOffer = undefined;
    for (const turn of this.#turns.values()) turn.disconnected();
    this.#checkIdle();
  }

  /** @internal The client is closed. */
  closed(error: ClosedError): void {
    this.#accepted.reject(error);
    this.#ended.reject(error);
    this.#end(error.message);
  }

  /** @internal A frame that is not about a session has arrived. */
  receive(frame: ServerFrame): boolean {
    switch (frame.type) {
      case "ack":
        if (frame.id !== this.#pendingOffer) return this.#onAck(frame.id, frame);
        this.#onAccepted(frame);
        return true;
      case "refused":
        if (frame.id === undefined) return false;
        if (frame.id !== this.#pendingOffer) return this.#onAck(frame.id, frame);
        this.#onOfferRefused(frame);
        return true;
      case "run":
        if (frame.agent !== this.#agentId) return false;
        this.#onRun(frame);
        return true;
      case "cancel":
        return this.#withTurn(frame.turn, (turn) =>
          this.#forget(turn, "the turn was ended by the server"),
        );
      case "approval_settled":
      case "tool_returned":
        return this.#withTurn(frame.turn, (turn) => turn.onAnswer(frame));
      case "offer_ended":
        if (frame.agent !== this.#agentId || frame.worker !== this.worker) return false;
        this.#fail(new ClosedError(frame.reason));
        return true;
      default:
        return false;
    }
  }

  #onAck(id: string, frame: Ack | Refused): boolean {
    for (const turn of this.#turns.values()) if (turn.onAck(id, frame)) return true;
    return false;
  }

  #withTurn(id: string, action: (turn: TurnChannel) => void): boolean {
    const turn = this.#turns.get(id);
    if (turn) action(turn);
    return turn !== undefined;
  }

  #onAccepted({ agent, session, turns = [] }: Ack): void {
    this.#pendingOffer = undefined;
    for (const turn of [...this.#turns.values()]) {
      if (turns.includes(turn.id)) continue;
      this.#forget(turn, "the turn ended while there was no connection");
    }
    this.#expected = new Set(turns.filter((turn) => !this.#turns.has(turn)));
    this.#isReoffered = this.#agentId !== undefined;
    this.#agentId = agent?.id;
    if (agent && session !== undefined) this.#accepted.resolve({ agent, session });
    this.#checkIdle();
  }

  #onOfferRefused(frame: Refused): void {
    this.#pendingOffer = undefined;
    if (!frame.retry) return this.#fail(new RefusedError(frame));
    setTimeout(() => {
      if (this.#phase !== "ended") this.connected();
    }, RETRY_AFTER);
  }

  /** Ends the offer because the server refused or ended it. */
  #fail(error: Error): void {
    this.#accepted.reject(error);
    this.#ended.reject(error);
    this.#end(error.message);
    this.#report(error);
  }

  #end(reason: string): void {
    this.#phase = "ended";
    for (const turn of [...this.#turns.values()]) this.#forget(turn, reason);
    this.#idle.resolve();
    this.#writer.unregister();
  }

  #checkIdle(): void {
    if (this.#phase !== "stopping" || this.#pendingOffer !== undefined) return;
    const isIdle = [...this.#turns.values()].every((turn) => this.#isLeft(turn));
    if (isIdle && this.#expected.size === 0) this.#idle.resolve();
  }

  get #canResume(): boolean {
    return this.#options.resumes === true || this.#options.resumable === true;
  }

  /** Returns whether `stop` leaves a turn to the next program of this worker. */
  #isLeft(turn: TurnChannel): boolean {
    return this.#canResume && turn.isParked;
  }

  #forget(turn: TurnChannel, reason: string): void {
    turn.end(reason);
    // The server may have handed out the turn again while this function was still returning.
    if (this.#turns.get(turn.id) === turn) this.#turns.delete(turn.id);
    this.#checkIdle();
  }

  #onRun(run: Run): void {
    const known = this.#turns.get(run.turn);
    if (known) return known.resume(run);
    this.#expected.delete(run.turn);
    const { resumed, ...fresh } = run;
    // A turn whose first `run` was lost with the connection has not begun anywhere.
    const isFresh = resumed && this.#isReoffered && isUntouched(run);
    const classes = (this.#options.tools ?? []).flatMap(({ name, replay }) =>
      replay ? [[name, replay] as const] : [],
    );
    const begun = isFresh ? fresh : run;
    const turn = new TurnChannel(begun, this.#writer, this.#permits, new Map(classes));
    this.#turns.set(turn.id, turn);
    void this.#runTurn(turn);
  }

  async #runTurn(turn: TurnChannel): Promise<void> {
    let current: Interface | undefined;
    try {
      if (turn.run.resumed && !this.#canResume) {
        throw new FailedError("The agent or the server was restarted during this turn.", {
          code: "agent_restarted",
        });
      }
      for (let inputs: Input[] = [turn.run.input]; inputs.length > 0; ) {
        current = new Interface(turn, inputs);
        const text = await this.#answer(current);
        if (text !== undefined && typeof text !== "string") {
          throw new TypeError("a turn's function must return a string or nothing");
        }
        // A refused verb that the program did not await must fail the turn before it finishes.
        await turn.flush();
        const finish = { verb: "finish" as const, ...(text ? { text } : {}) };
        // Inputs that joined the turn meanwhile are answered in the same turn.
        inputs = (await turn.request(crypto.randomUUID(), finish)).steered ?? [];
      }
    } catch (error) {
      // An error after the end of the turn is only a consequence of that end.
      if (!turn.signal.aborted) await this.#failTurn(turn, error, current);
    }
    this.#forget(turn, "the turn has ended");
  }

  async #failTurn(
    turn: TurnChannel,
    error: unknown,
    current: Interface | undefined,
  ): Promise<void> {
    const failed = turn.fail(...publicReason(error));
    if (!(error instanceof FailedError)) this.#report(error, current);
    try {
      await failed;
    } catch (refused) {
      if (!turn.signal.aborted) this.#report(refused, current);
    }
  }

  #report(error: unknown, turn?: Interface): void {
    if (this.#options.onError) return this.#options.onError(error, turn);
    const subject = turn
      ? `turn ${turn.turn} of agent ${this.name} failed`
      : `agent ${this.name} is no longer offered`;
    console.error(`thoughtwire: ${subject}:`, error);
  }
}

/** Tells whether nothing was sent yet in a turn that is handed out again. */
function isUntouched({ turn, history = [], open = {} }: Run): boolean {
  const sent = history.filter(
    ({ event }) => event.kind !== "turn_started" && event.kind !== "user_message",
  );
  return !sent.some((record) => record.turn === turn) && Object.keys(open).length === 0;
}

/** Returns the reason that clients see. The text of an unknown error may be confidential. */
function publicReason(error: unknown): [reason: string, code?: string] {
  if (error instanceof FailedError) {
    return error.code === undefined ? [error.message] : [error.message, error.code];
  }
  if (error instanceof RefusedError) {
    return [`The server refused what the agent sent: ${error.message}`, error.code];
  }
  return ["The agent's program failed."];
}

/** Waits for a promise, at most so many milliseconds. */
async function settledWithin(millis: number, awaited: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, millis);
  });
  await Promise.race([timeout, awaited]);
  clearTimeout(timer);
}
