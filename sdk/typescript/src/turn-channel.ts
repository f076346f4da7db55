import { CallAnswers } from "./call-answers.js";
import { type Deferred, deferred, markHandled } from "./deferred.js";
import { EndedError, RefusedError } from "./errors.js";
import type { FrameWriter } from "./handler.js";
import { PastCalls } from "./past-calls.js";
import type { Queue } from "./queue.js";
import type {
  Ack,
  Awaits,
  FrameOf,
  JsonValue,
  Refused,
  Replay,
  Run,
  StreamKind,
  ToolStatus,
  Usage,
  Verb,
} from "./wire.js";

/** Decision on a call, or its result from a client. */
export type CallAnswer = FrameOf<"approval_settled"> | FrameOf<"tool_returned">;

/** Result of a tool that a client ran. */
export interface ToolResult {
  status: ToolStatus;
  text: string;
  content?: JsonValue;
}

/** Serialized frame without an acknowledgement. A delta has its item and its number in it. */
interface UnackedFrame {
  text: string;
  delta?: { item: string; n: number };
}

/**
 * Outbox and answers of one turn that this program runs.
 *
 * It keeps each verb until the server acknowledges it, and sends it again on the next connection.
 *
 * Invariant: `#unacked` is in the order in which the program sent its verbs, and every connection
 * sends them in that order. ("sends again what was not acknowledged" in `offer.test.ts`)
 */
export class TurnChannel {
  readonly run: Run;
  /** Calls of an earlier run that this run has not repeated yet. */
  readonly pastCalls: PastCalls;
  /** Replay classes that the offer declares, by tool. */
  readonly replayClasses: ReadonlyMap<string, Replay>;
  readonly #callAnswers = new CallAnswers();
  readonly #writer: FrameWriter;
  /** One permit per verb that may be unacknowledged, shared by all turns of an offer. */
  readonly #permits: Queue<true>;
  readonly #abort = new AbortController();
  readonly #unacked = new Map<string, UnackedFrame>();
  readonly #acks = new Map<string, Deferred<Ack>>();
  /** Number of deltas of each open item. */
  readonly #deltas = new Map<string, number>();
  /** Answers by {@link answerKey}. An answer may arrive before the program waits for it. */
  readonly #answers = new Map<string, Deferred<CallAnswer>>();
  /** Calls by the ids of the verbs that ask whether they may be made again. */
  readonly #retryQuestions = new Map<string, string>();
  /** Number of answers that the program waits for. */
  #waiters = 0;
  #usage: string | undefined;
  /** Refusal of a verb that the program did not wait for. */
  #refusal: RefusedError | undefined;
  /** The verb sent last. The next one is sent after it. */
  #last: Promise<unknown> = Promise.resolve();
  /** Whether verbs go out on this connection, rather than being kept for the next. */
  #isConnected = true;

  constructor(
    run: Run,
    writer: FrameWriter,
    permits: Queue<true>,
    replayClasses: ReadonlyMap<string, Replay>,
  ) {
    this.run = run;
    this.replayClasses = replayClasses;
    this.pastCalls = new PastCalls(run);
    this.#writer = writer;
    this.#permits = permits;
    for (const { call, awaits } of run.waiting ?? []) {
      this.#answers.set(answerKey(awaits, call), deferred());
    }
    // Another process may have asked, with the answer already in the history.
    for (const answer of answersIn(run)) {
      const key = answerKey(kindOf(answer), answer.call);
      if (!this.#answers.has(key)) this.#answers.set(key, deferred());
      this.#onRecorded(answer, run);
    }
  }

  get id(): string {
    return this.run.turn;
  }

  /** Aborted when the turn has ended. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether the program only waits for people or a client, with nothing unacknowledged. */
  get isParked(): boolean {
    return this.#waiters > 0 && this.#unacked.size === 0;
  }

  /** Sends a verb; resolves when it is sent. Its refusal is thrown by the verbs after it. */
  send(id: string, verb: Verb): Promise<void> {
    const { sent, ack } = this.#say(id, verb);
    ack.catch((error: unknown) => {
      if (error instanceof RefusedError) this.#refusal ??= error;
    });
    return sent;
  }

  /** Sends a verb; resolves when the server acknowledges it. */
  request(id: string, verb: Verb): Promise<Ack> {
    return this.#say(id, verb).ack;
  }

  /** Fails the turn, whatever was refused before. */
  fail(reason: string, code?: string): Promise<Ack> {
    this.#refusal = undefined;
    const verb = { verb: "fail" as const, reason, ...(code === undefined ? {} : { code }) };
    return this.request(crypto.randomUUID(), verb);
  }

  /** Sends a delta of an item; waits while the send buffer is full. */
  delta(item: string, kind: StreamKind, text: string, continues?: string): Promise<void> {
    return this.#inOrder(async () => {
      const n = this.#deltas.get(item) ?? 0;
      const first = n === 0 && continues !== undefined ? { continues } : {};
      const frame = this.#serialize({ verb: "delta", item, n, kind, text, ...first });
      const refusal = this.#isConnected ? this.#writer.write(frame) : undefined;
      if (refusal) throw refusal;
      this.#deltas.set(item, n + 1);
      this.#unacked.set(deltaKey(item, n), { text: frame, delta: { item, n } });
      await this.#writer.writable();
    });
  }

  /** Sends a status. Without a connection it is dropped. */
  status(text: string): Promise<void> {
    return this.#sendUnkept(() => this.#serialize({ verb: "status", text }));
  }

  /** Sends the turn's usage so far. The last one counts. */
  usage(usage: Usage): Promise<void> {
    return this.#sendUnkept(() => {
      this.#usage = this.#serialize({ verb: "usage", ...usage });
      return this.#usage;
    });
  }

  /**
   * Waits for the answer to a call. `ask` sends the question, unless it is already asked.
   */
  async answer(awaits: Awaits, call: string, ask: () => Promise<unknown>): Promise<CallAnswer> {
    this.#checkOpen();
    const key = answerKey(awaits, call);
    const asked = this.#answers.get(key);
    const answer = asked ?? deferred<CallAnswer>();
    this.#answers.set(key, answer);
    try {
      if (!asked) await ask().catch(answer.reject);
      return await this.#parked(answer.promise);
    } finally {
      this.#answers.delete(key);
    }
  }

  /** Waits for the decision about a call of an earlier run that waits, or for its result. */
  answerAbout(call: string): Promise<CallAnswer> {
    this.#checkOpen();
    return this.#parked(this.#callAnswers.of(call));
  }

  /**
   * Asks the owner whether a call may be made again, and waits for the answer. It is a result if
   * the owner says what became of the call, or says nothing in time.
   */
  mayRetry(call: string): Promise<CallAnswer> {
    const id = crypto.randomUUID();
    this.#retryQuestions.set(id, call);
    const ask = () => this.request(id, { verb: "approval", call, about: "retry" });
    return this.#parked(this.#callAnswers.ask(call, this.run, ask));
  }

  async #parked<T>(awaited: Promise<T>): Promise<T> {
    this.#waiters += 1;
    return await awaited.finally(() => {
      this.#waiters -= 1;
    });
  }

  /**
   * Waits until every verb is acknowledged.
   *
   * @throws {RefusedError} when a verb that the program did not wait for was refused.
   */
  async flush(): Promise<void> {
    await this.#last;
    await Promise.allSettled([...this.#acks.values()].map((ack) => ack.promise));
    this.#checkOpen();
  }

  /** Takes the answer to a verb; returns whether the verb is one of this turn. */
  onAck(id: string, frame: Ack | Refused): boolean {
    const ack = this.#takeAck(id);
    if (!ack) return false;
    if (frame.type === "ack") {
      const call = this.#retryQuestions.get(id);
      if (call !== undefined) this.#callAnswers.asked(call);
      ack.resolve(frame);
    } else if (frame.code === "no_turn") {
      ack.reject(new EndedError(frame.reason));
      this.end(frame.reason);
    } else {
      ack.reject(new RefusedError(frame));
    }
    return true;
  }

  /** Takes a decision on a call, or its result. */
  onAnswer(answer: CallAnswer): void {
    this.#callAnswers.received(answer);
    this.#resolveAnswer(answer);
  }

  #onRecorded(answer: CallAnswer, run: Run): void {
    this.#callAnswers.recorded(answer, run);
    this.#resolveAnswer(answer);
  }

  #resolveAnswer(answer: CallAnswer): void {
    this.#answers.get(answerKey(kindOf(answer), answer.call))?.resolve(answer);
  }

  /** The connection is lost: verbs are kept for the next one. */
  disconnected(): void {
    this.#isConnected = false;
  }

  /** The server handed out the turn again on a new connection: sends what is unacknowledged. */
  resume(run: Run): void {
    if (this.#isConnected) return;
    this.#isConnected = true;
    if (this.#usage !== undefined) this.#writer.write(this.#usage);
    for (const [key, { text, delta }] of [...this.#unacked]) {
      if (!delta) this.#write(key, text);
      else if (delta.n >= (run.open?.[delta.item] ?? 0)) this.#writer.write(text);
    }
    for (const answer of answersIn(run)) this.#onRecorded(answer, run);
  }

  /** Ends the turn: everything that still waits in it is rejected. */
  end(reason: string): void {
    if (this.signal.aborted) return;
    const error = new EndedError(reason);
    this.#abort.abort(error);
    for (const id of [...this.#acks.keys()]) this.#takeAck(id)?.reject(error);
    for (const answer of this.#answers.values()) answer.reject(error);
    this.#callAnswers.end(error);
  }

  #say(id: string, verb: Verb): { sent: Promise<void>; ack: Promise<Ack> } {
    const ack = deferred<Ack>();
    const sent = this.#inOrder(async () => {
      const text = this.#serialize(verb, id);
      await this.#permits.next();
      if (this.signal.aborted) {
        this.#permits.push(true);
        throw this.signal.reason;
      }
      // The complete item replaces its deltas.
      for (let n = this.#deltas.get(id) ?? 0; n > 0; n -= 1) {
        this.#unacked.delete(deltaKey(id, n - 1));
      }
      this.#deltas.delete(id);
      this.#acks.set(id, ack);
      this.#unacked.set(id, { text });
      if (this.#isConnected) this.#write(id, text);
    });
    sent.catch(ack.reject);
    return { sent, ack: ack.promise };
  }

  #sendUnkept(serialize: () => string): Promise<void> {
    return this.#inOrder(async () => {
      const text = serialize();
      if (this.#isConnected) this.#writer.write(text);
    });
  }

  /** Sends verbs one after the other, also for a program that does not await them. */
  #inOrder(send: () => Promise<void>): Promise<void> {
    const next = async () => {
      this.#checkOpen();
      await send();
    };
    const sent = markHandled(this.#last.then(next));
    this.#last = sent.catch(() => {});
    return sent;
  }

  #checkOpen(): void {
    if (this.signal.aborted) throw this.signal.reason;
    if (this.#refusal) throw this.#refusal;
  }

  #serialize(verb: Verb, id?: string): string {
    return JSON.stringify({ type: "say", id, turn: this.id, ...verb });
  }

  #write(id: string, text: string): void {
    const refusal = this.#writer.write(text);
    if (refusal) this.#takeAck(id)?.reject(refusal);
  }

  #takeAck(id: string): Deferred<Ack> | undefined {
    const ack = this.#acks.get(id);
    if (!ack) return undefined;
    this.#acks.delete(id);
    this.#unacked.delete(id);
    this.#permits.push(true);
    return ack;
  }
}

/** Key of a delta among the unacknowledged frames. An id contains no line break. */
const deltaKey = (item: string, n: number): string => `${item}\n${n}`;

const answerKey = (awaits: Awaits, call: string): string => `${awaits}\n${call}`;

const kindOf = (answer: CallAnswer): Awaits =>
  answer.type === "approval_settled" ? "approval" : "client";

/** Returns the answers in a turn's history that arrived while there was no connection. */
function answersIn({ turn, history = [] }: Run): Iterable<CallAnswer> {
  const found = new Map<string, CallAnswer>();
  for (const record of history) {
    if (record.turn !== turn) continue;
    const { event } = record;
    switch (event.kind) {
      case "approval_settled":
      case "tool_returned": {
        const { kind: type, ...rest } = event;
        const answer = { type, turn, ...rest } as CallAnswer;
        found.set(answerKey(kindOf(answer), event.call), answer);
        break;
      }
      // A new question: an earlier answer does not count for it.
      case "approval_asked":
        found.delete(answerKey("approval", event.call));
        break;
      case "tool_awaited":
        found.delete(answerKey("client", event.call));
        break;
    }
  }
  return found.values();
}
