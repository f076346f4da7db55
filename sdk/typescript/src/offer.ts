/** An agent of one's own, offered to a server. */
import type { Client } from "./client.js";
import { deferred } from "./deferred.js";
import { ClosedError, FailedError, RefusedError } from "./errors.js";
import type { Guest, Line } from "./guest.js";
import { Interface } from "./interface.js";
import { Queue } from "./queue.js";
import { Turn } from "./turn.js";
import type { Ack, Agent, Input, Refused, Run, ServerFrame, ToolDeclaration } from "./wire.js";

/** Verbs that may be unacknowledged: while as many wait, the server does not read the connection. */
const WINDOW = 64;
/** How long until an offer is made again that was refused for the moment. */
const RETRY_AFTER = 1_000;
/** How long a program that stops waits for the server to take the last it says. */
const LAST_WORDS = 2_000;

/** Answers a turn. What it returns is the turn's last message; what it throws fails the turn. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is one.
export type TurnFunction = (turn: Interface) => Promise<string | void> | string | void;

/** How an agent is offered. */
export interface OfferOptions {
  /** Names this program: who comes back under the same name has its turns again. Without one that holds as long as the process lives. */
  worker?: string;
  /** How many turns it runs at once; 1 if left out. */
  turns?: number;
  /** How many of the newest events come with a turn. */
  history?: number;
  /** Whether core memory comes with a turn. */
  memory?: boolean;
  /** The agent's own tools, for people and for its permissions. */
  tools?: ToolDeclaration[];
  /** By session, up to where this program has the log: only newer events come. It is looked at whenever the offer is made. */
  cursors?: Readonly<Record<string, number>>;
  /**
   * Whether it also takes up turns in the middle, with `turn.history` and `turn.waiting`: those that another
   * process began, and those that waited for people when the server was started anew. Else they are failed.
   */
  resumes?: boolean;
  /** Told what went wrong, of which clients see no more than that it did; `console.error` if left out. */
  onError?: (error: unknown, turn?: Interface) => void;
}

/**
 * Offers an agent and runs its turns, across any number of connections, until it is stopped or
 * the client is closed.
 *
 * One client offers an agent once; `turns` is how many of its turns run at the same time.
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

/** An agent whose turns this program runs. Sessions, the log, resuming, clients, cancelling and approvals are the server's. */
export class OfferedAgent implements Guest {
  /** The agent's name or id, as it was offered. */
  readonly name: string;
  /** The name under which this program has its turns again. */
  readonly worker: string;
  readonly #client: Client;
  readonly #line: Line;
  readonly #answer: TurnFunction;
  readonly #options: OfferOptions;
  readonly #standing = deferred<{ agent: Agent; session: string }>();
  readonly #over = deferred<void>();
  readonly #rested = deferred<void>();
  readonly #window = new Queue<true>();
  readonly #turns = new Map<string, Turn>();
  /** Turns that are this program's and have not come yet. */
  #coming = new Set<string>();
  /** The offer that is not answered yet. */
  #asked: string | undefined;
  #agent: string | undefined;
  /** This very process has offered before. */
  #cameBack = false;
  #phase: "offering" | "stopping" | "over" = "offering";

  /** @internal Made by {@link offer}. */
  constructor(client: Client, name: string, answer: TurnFunction, options: OfferOptions) {
    this.name = name;
    this.worker = options.worker ?? `typescript-${crypto.randomUUID()}`;
    this.#client = client;
    this.#answer = answer;
    this.#options = options;
    for (let n = 0; n < WINDOW; n += 1) this.#window.push(true);
    this.#line = client.join(this);
    this.opened();
  }

  /** Resolves when the offer stands, with the agent and its main session; rejects as {@link OfferedAgent.ended} does. */
  offered(): Promise<{ agent: Agent; session: string }> {
    return this.#standing.promise;
  }

  /**
   * Resolves when it was stopped.
   *
   * It rejects with {@link RefusedError} when the server refuses the offer (`not_offered` for an agent that
   * has a model of its own), and with {@link ClosedError} when the client is closed, the agent was deleted,
   * or another program came under this worker's name.
   */
  get ended(): Promise<void> {
    return this.#over.promise;
  }

  /** Takes no new turns, gives those that run `grace` seconds to come to their end, and fails those that do not. */
  async stop(grace = 10): Promise<void> {
    if (this.#phase !== "offering") return this.#over.promise.catch(() => {});
    this.#phase = "stopping";
    this.opened();
    if (this.#turns.size > 0 || this.#client.state === "open")
      await within(grace * 1000, this.#rested.promise);
    const late = [...this.#turns.values()].map((turn) => {
      const failed = turn.fail("The agent's program was stopped.", "agent_stopped");
      return failed.catch(() => {}).then(() => this.#forget(turn, "the program was stopped"));
    });
    await within(LAST_WORDS, Promise.all(late));
    this.#end("the program was stopped");
    this.#over.resolve();
  }

  /** @internal The connection stands. */
  opened(): void {
    if (this.#client.state !== "open") return;
    const { turns, history, memory, tools, cursors } = this.#options;
    this.#asked = crypto.randomUUID();
    const refused = this.#line.write(
      JSON.stringify({
        type: "offer",
        id: this.#asked,
        agent: this.name,
        worker: this.worker,
        turns: this.#phase === "stopping" ? 0 : turns,
        history,
        memory,
        tools,
        cursors,
      }),
    );
    if (refused) this.#fall(refused);
  }

  /** @internal The connection broke. */
  broke(): void {
    this.#asked = undefined;
    for (const turn of this.#turns.values()) turn.broke();
    this.#rest();
  }

  /** @internal A frame that is no session's; tells whether it was for this agent. */
  heard(frame: ServerFrame): boolean {
    switch (frame.type) {
      case "ack":
        if (frame.id !== this.#asked) return this.#acknowledged(frame.id, frame);
        this.#stands(frame);
        return true;
      case "refused":
        if (frame.id === undefined) return false;
        if (frame.id !== this.#asked) return this.#acknowledged(frame.id, frame);
        this.#asked = undefined;
        if (frame.retry) setTimeout(() => this.#phase !== "over" && this.opened(), RETRY_AFTER);
        else this.#fall(new RefusedError(frame));
        return true;
      case "run":
        if (frame.agent !== this.#agent) return false;
        this.#run(frame);
        return true;
      case "cancel":
        return this.#about(frame.turn, (turn) =>
          this.#forget(turn, "the turn was ended by the server"),
        );
      case "approval_settled":
      case "tool_returned":
        return this.#about(frame.turn, (turn) => turn.answered(frame));
      case "offer_ended":
        if (frame.agent !== this.#agent || frame.worker !== this.worker) return false;
        this.#fall(new ClosedError(frame.reason));
        return true;
      default:
        return false;
    }
  }

  /** @internal The client is closed. */
  closed(error: ClosedError): void {
    this.#standing.reject(error);
    this.#over.reject(error);
    this.#end(error.message);
  }

  #acknowledged(id: string, frame: Ack | Refused): boolean {
    for (const turn of this.#turns.values()) if (turn.acknowledged(id, frame)) return true;
    return false;
  }

  #about(id: string, tell: (turn: Turn) => void): boolean {
    const turn = this.#turns.get(id);
    if (turn) tell(turn);
    return turn !== undefined;
  }

  #stands({ agent, session, turns = [] }: Ack): void {
    this.#asked = undefined;
    // What is not told any more has ended while there was no connection.
    for (const turn of [...this.#turns.values()]) {
      if (!turns.includes(turn.id))
        this.#forget(turn, "the turn ended while there was no connection");
    }
    this.#coming = new Set(turns.filter((turn) => !this.#turns.has(turn)));
    this.#cameBack = this.#agent !== undefined;
    this.#agent = agent?.id;
    if (agent && session !== undefined) this.#standing.resolve({ agent, session });
    this.#rest();
  }

  /** The server says that the offer no longer holds. */
  #fall(error: Error): void {
    this.#standing.reject(error);
    this.#over.reject(error);
    this.#end(error.message);
    this.#report(error);
  }

  #end(reason: string): void {
    this.#phase = "over";
    for (const turn of [...this.#turns.values()]) this.#forget(turn, reason);
    this.#rested.resolve();
    this.#line.leave();
  }

  /** Notices, for who waits for it, that nothing runs any more. */
  #rest(): void {
    if (
      this.#phase === "stopping" &&
      this.#asked === undefined &&
      this.#turns.size + this.#coming.size === 0
    )
      this.#rested.resolve();
  }

  #forget(turn: Turn, reason: string): void {
    turn.end(reason);
    // Under its id another may run already: handed out again, while what is left of this one comes to its end.
    if (this.#turns.get(turn.id) === turn) this.#turns.delete(turn.id);
    this.#rest();
  }

  #run(run: Run): void {
    const known = this.#turns.get(run.turn);
    if (known) return known.resumed(run);
    this.#coming.delete(run.turn);
    const { resumed, ...fresh } = run;
    // What was on its way to this process when a connection broke was nobody's yet.
    const turn = new Turn(
      resumed && this.#cameBack && isUntouched(run) ? fresh : run,
      this.#line,
      this.#window,
    );
    this.#turns.set(turn.id, turn);
    void this.#play(turn);
  }

  async #play(turn: Turn): Promise<void> {
    let told: Interface | undefined;
    try {
      if (turn.run.resumed && !this.#options.resumes) {
        throw new FailedError(
          "The agent or the server was started anew in the middle of this turn.",
          { code: "agent_restarted" },
        );
      }
      for (let inputs: Input[] = [turn.run.input]; inputs.length > 0; ) {
        told = new Interface(turn, inputs);
        const text = await this.#answer(told);
        if (text !== undefined && typeof text !== "string")
          throw new TypeError("what answers a turn must give a text or nothing");
        // What was said without waiting and refused fails the turn, rather than being lost behind its end.
        await turn.drained();
        // Inputs that joined the turn meanwhile are answered in it.
        inputs =
          (await turn.ask(crypto.randomUUID(), { verb: "finish", ...(text ? { text } : {}) }))
            .steered ?? [];
      }
    } catch (error) {
      // What goes wrong in a turn that is over went wrong because it is.
      if (!turn.signal.aborted) await this.#fail(turn, error, told);
    }
    this.#forget(turn, "the turn has ended");
  }

  async #fail(turn: Turn, error: unknown, told: Interface | undefined): Promise<void> {
    const failed = turn.fail(...forPeople(error));
    if (!(error instanceof FailedError)) this.#report(error, told);
    try {
      await failed;
    } catch (refused) {
      if (!turn.signal.aborted) this.#report(refused, told);
    }
  }

  #report(error: unknown, turn?: Interface): void {
    if (this.#options.onError) return this.#options.onError(error, turn);
    const what = turn
      ? `turn ${turn.turn} of ${this.name} fails`
      : `${this.name} is not offered any more`;
    console.error(`thoughtwire: ${what}:`, error);
  }
}

/** Nothing was said in a turn that is handed out again. */
function isUntouched({ turn, history = [], open = {} }: Run): boolean {
  const said = history.filter(
    ({ event }) => event.kind !== "turn_started" && event.kind !== "user_message",
  );
  return !said.some((record) => record.turn === turn) && Object.keys(open).length === 0;
}

/** What people are told of an error: no more than that there was one, where its text may be nobody else's business. */
function forPeople(error: unknown): [reason: string, code?: string] {
  if (error instanceof FailedError)
    return error.code === undefined ? [error.message] : [error.message, error.code];
  if (error instanceof RefusedError)
    return [`What the agent said was refused: ${error.message}`, error.code];
  return ["The agent's program failed."];
}

/** Waits, but not for longer than so many milliseconds. */
async function within(millis: number, awaited: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, millis)));
  await Promise.race([late, awaited]);
  clearTimeout(timer);
}
