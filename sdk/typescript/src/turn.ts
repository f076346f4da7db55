/** One turn's voice: what its program has said, and what the server has acknowledged of it. */
import { type Deferred, deferred, heeded } from "./deferred.js";
import { EndedError, RefusedError } from "./errors.js";
import type { Line } from "./guest.js";
import type { Queue } from "./queue.js";
import type { Ack, Awaits, FrameOf, Refused, Run, StreamKind, Usage, Verb } from "./wire.js";

/** What people or a client made of a call. */
export type Answered = FrameOf<"approval_settled"> | FrameOf<"tool_returned">;

/** A frame as it goes out, and which piece of an item it is if it is one. */
interface Said {
  wire: string;
  item?: string;
  n?: number;
}

/**
 * Keeps what was said until it is acknowledged, so that it can be said again on another connection.
 *
 * Invariant: what is not acknowledged stands in `#unheard` in the order in which it was said, and goes
 * out in that order on every connection.
 */
export class Turn {
  readonly run: Run;
  readonly #line: Line;
  /** Leave to have a verb unacknowledged: one token for each, shared by all turns of an offer. */
  readonly #window: Queue<true>;
  readonly #abort = new AbortController();
  readonly #unheard = new Map<string, Said>();
  readonly #acks = new Map<string, Deferred<Ack>>();
  /** How many pieces each open item has. */
  readonly #pieces = new Map<string, number>();
  /** By who was asked and for which call; one may come before the program waits for it. */
  readonly #answers = new Map<string, Deferred<Answered>>();
  #usage: string | undefined;
  /** The no to what nobody waited for. */
  #refused: RefusedError | undefined;
  /** What was said last, behind which the next thing goes out. */
  #last: Promise<unknown> = Promise.resolve();
  /** Said on this connection, as opposed to kept for the next. */
  #live = true;

  constructor(run: Run, line: Line, window: Queue<true>) {
    this.run = run;
    this.#line = line;
    this.#window = window;
    for (const { call, awaits } of run.waiting ?? [])
      this.#answers.set(answerKey(awaits, call), deferred());
    // Another process asked, and it was answered in between.
    for (const answer of settled(run)) {
      const key = answerKey(askedOf(answer), answer.call);
      if (!this.#answers.has(key)) this.#answers.set(key, deferred());
      this.answered(answer);
    }
  }

  get id(): string {
    return this.run.turn;
  }

  /** Aborted when the turn is over. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Says what needs no answer: resolves when it is on its way. A no is thrown by all that is said behind it. */
  tell(id: string, verb: Verb): Promise<void> {
    const { spoken, ack } = this.#say(id, verb);
    ack.catch((error: unknown) => {
      if (error instanceof RefusedError) this.#refused ??= error;
    });
    return spoken;
  }

  /** Says what is acted upon when it is acknowledged. */
  ask(id: string, verb: Verb): Promise<Ack> {
    return this.#say(id, verb).ack;
  }

  /** Says the turn's end, whatever was refused before. */
  fail(reason: string, code?: string): Promise<Ack> {
    this.#refused = undefined;
    return this.ask(crypto.randomUUID(), {
      verb: "fail",
      reason,
      ...(code === undefined ? {} : { code }),
    });
  }

  /** Says a piece of an item; is held up while much waits to be written. */
  delta(item: string, kind: StreamKind, text: string): Promise<void> {
    return this.#next(async () => {
      this.#maySpeak();
      const n = this.#pieces.get(item) ?? 0;
      const wire = JSON.stringify({
        type: "say",
        turn: this.id,
        verb: "delta",
        item,
        n,
        kind,
        text,
      });
      const refused = this.#live ? this.#line.write(wire) : undefined;
      if (refused) throw refused;
      this.#pieces.set(item, n + 1);
      this.#unheard.set(pieceKey(item, n), { wire, item, n });
      await this.#line.spacious();
    });
  }

  /** Says what goes on, if there is a connection to say it on. */
  status(text: string): Promise<void> {
    return this.#pass(() => JSON.stringify({ type: "say", turn: this.id, verb: "status", text }));
  }

  /** Says what the turn cost so far; the last one counts. */
  usage(usage: Usage): Promise<void> {
    return this.#pass(
      () => (this.#usage = JSON.stringify({ type: "say", turn: this.id, verb: "usage", ...usage })),
    );
  }

  /** Waits for what people or a client make of a call, which `ask` puts to them unless it was put to them already. */
  async answer(awaits: Awaits, call: string, ask: () => Promise<unknown>): Promise<Answered> {
    this.#maySpeak();
    const key = answerKey(awaits, call);
    const asked = this.#answers.get(key);
    const answer = asked ?? deferred<Answered>();
    this.#answers.set(key, answer);
    try {
      if (!asked) await ask().catch(answer.reject);
      return await answer.promise;
    } finally {
      this.#answers.delete(key);
    }
  }

  /**
   * Waits until everything that was said is acknowledged.
   *
   * @throws {RefusedError} when something was refused that nobody waited for.
   */
  async drained(): Promise<void> {
    await this.#last;
    await Promise.allSettled([...this.#acks.values()].map((ack) => ack.promise));
    this.#maySpeak();
  }

  /** The answer to something said; tells whether it was this turn's. */
  acknowledged(id: string, frame: Ack | Refused): boolean {
    const ack = this.#forget(id);
    if (!ack) return false;
    if (frame.type === "ack") {
      ack.resolve(frame);
    } else if (frame.code === "no_turn") {
      ack.reject(new EndedError(frame.reason));
      this.end(frame.reason);
    } else {
      ack.reject(new RefusedError(frame));
    }
    return true;
  }

  answered(frame: Answered): void {
    this.#answers.get(answerKey(askedOf(frame), frame.call))?.resolve(frame);
  }

  /** The connection broke: what is said from now on is kept for the next. */
  broke(): void {
    this.#live = false;
  }

  /** The server hands the turn out again: on a new connection it goes on where the old one stopped. */
  resumed(run: Run): void {
    if (this.#live) return;
    this.#live = true;
    if (this.#usage !== undefined) this.#line.write(this.#usage);
    for (const [key, { wire, item, n }] of [...this.#unheard]) {
      if (item === undefined) this.#write(key, wire);
      else if (n! >= (run.open?.[item] ?? 0)) this.#line.write(wire);
    }
    for (const answered of settled(run)) this.answered(answered);
  }

  /** The turn has ended; whoever waits in it learns so. */
  end(reason: string): void {
    if (this.signal.aborted) return;
    const error = new EndedError(reason);
    this.#abort.abort(error);
    for (const id of [...this.#acks.keys()]) this.#forget(id)?.reject(error);
    for (const answer of this.#answers.values()) answer.reject(error);
  }

  #say(id: string, verb: Verb): { spoken: Promise<void>; ack: Promise<Ack> } {
    const ack = deferred<Ack>();
    const spoken = this.#next(async () => {
      this.#maySpeak();
      const wire = JSON.stringify({ type: "say", id, turn: this.id, ...verb });
      await this.#window.next();
      if (this.signal.aborted) {
        this.#window.push(true);
        throw this.signal.reason;
      }
      // The whole supersedes its pieces.
      for (let n = this.#pieces.get(id) ?? 0; n > 0; n -= 1)
        this.#unheard.delete(pieceKey(id, n - 1));
      this.#pieces.delete(id);
      this.#acks.set(id, ack);
      this.#unheard.set(id, { wire });
      if (this.#live) this.#write(id, wire);
    });
    spoken.catch(ack.reject);
    return { spoken, ack: ack.promise };
  }

  /** What is said without being kept. */
  #pass(wire: () => string): Promise<void> {
    return this.#next(async () => {
      this.#maySpeak();
      const said = wire();
      if (this.#live) this.#line.write(said);
    });
  }

  /** One after the other, also for a program that does not wait. */
  #next(speak: () => Promise<void>): Promise<void> {
    const spoken = heeded(this.#last.then(speak));
    this.#last = spoken.catch(() => {});
    return spoken;
  }

  #maySpeak(): void {
    if (this.signal.aborted) throw this.signal.reason;
    if (this.#refused) throw this.#refused;
  }

  #write(id: string, wire: string): void {
    const refused = this.#line.write(wire);
    if (refused) this.#forget(id)?.reject(refused);
  }

  #forget(id: string): Deferred<Ack> | undefined {
    const ack = this.#acks.get(id);
    if (!ack) return undefined;
    this.#acks.delete(id);
    this.#unheard.delete(id);
    this.#window.push(true);
    return ack;
  }
}

/** No id has a line break in it. */
const pieceKey = (item: string, n: number): string => `${item}\n${n}`;

const answerKey = (awaits: Awaits, call: string): string => `${awaits}\n${call}`;

const askedOf = (answer: Answered): Awaits =>
  answer.type === "approval_settled" ? "approval" : "client";

/** What was settled in a turn while there was no connection to tell it on. */
function settled({ turn, history = [] }: Run): Iterable<Answered> {
  const found = new Map<string, Answered>();
  for (const { turn: whose, event } of history) {
    if (whose !== turn) continue;
    if (event.kind === "approval_settled" || event.kind === "tool_returned") {
      const { kind: type, ...rest } = event;
      const answer = { type, turn, ...rest } as Answered;
      found.set(answerKey(askedOf(answer), event.call), answer);
    } else if (event.kind === "approval_asked" || event.kind === "tool_awaited") {
      // Asked anew: what came of it before is no answer.
      found.delete(answerKey(event.kind === "approval_asked" ? "approval" : "client", event.call));
    }
  }
  return found.values();
}
