import { type Deferred, deferred } from "./deferred.js";
import type { EndedError } from "./errors.js";
import { ownEvents } from "./past-calls.js";
import type { CallAnswer } from "./turn-channel.js";
import type { Run } from "./wire.js";

/** Question whether a call may be made again. */
interface Question {
  /** Number of decisions about the call before the question. */
  decided: number;
  /** Whether the question is on disk. */
  isAsked: boolean;
  answer: Deferred<CallAnswer>;
}

/**
 * Answers about open calls of an earlier run: a decision, or a result that the server has written.
 *
 * Invariant: an earlier decision about a call never answers the question whether the call may be
 * made again. ("asks the owner about a call in doubt" in `call-once.test.ts`)
 */
export class CallAnswers {
  readonly #answers = new Map<string, Deferred<CallAnswer>>();
  readonly #questions = new Map<string, Question>();

  /** Returns the answer about a call that waits already. */
  of(call: string): Promise<CallAnswer> {
    return this.#answer(call).promise;
  }

  /** Asks with `ask` whether a call may be made again, and waits for the answer. */
  async ask(call: string, run: Run, ask: () => Promise<unknown>): Promise<CallAnswer> {
    const question = {
      decided: decisions(run, call),
      isAsked: false,
      answer: deferred<CallAnswer>(),
    };
    this.#questions.set(call, question);
    await ask();
    return await question.answer.promise;
  }

  /** Notes that a question about a call is on disk. */
  asked(call: string): void {
    const question = this.#questions.get(call);
    if (question) question.isAsked = true;
  }

  /** Takes an answer that has arrived. */
  received(answer: CallAnswer): void {
    const question = this.#questions.get(answer.call);
    if (!question) this.#answer(answer.call).resolve(answer);
    // The server sends the earlier decisions before it acknowledges the question.
    else if (answer.type === "tool_returned" || question.isAsked) question.answer.resolve(answer);
  }

  /** Takes an answer from a turn's history. */
  recorded(answer: CallAnswer, run: Run): void {
    const question = this.#questions.get(answer.call);
    if (!question || answer.type === "tool_returned") this.received(answer);
    else if (decisions(run, answer.call) > question.decided) question.answer.resolve(answer);
  }

  /** Rejects everything that waits. */
  end(error: EndedError): void {
    const questions = [...this.#questions.values()].map((question) => question.answer);
    for (const answer of [...this.#answers.values(), ...questions]) answer.reject(error);
  }

  #answer(call: string): Deferred<CallAnswer> {
    const answer = this.#answers.get(call) ?? deferred<CallAnswer>();
    this.#answers.set(call, answer);
    return answer;
  }
}

/** Counts the decisions about a call in a turn's history. */
function decisions(run: Run, call: string): number {
  const isDecision = (event: ReturnType<typeof ownEvents>[number]) =>
    event.kind === "approval_settled" && event.call === call;
  return ownEvents(run).filter(isDecision).length;
}
