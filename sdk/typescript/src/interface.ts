import { type CallOnceOptions, callOnce, type MakeCall } from "./call-once.js";
import { markHandled } from "./deferred.js";
import { EndedError } from "./errors.js";
import { ItemWriter } from "./item-writer.js";
import type { ToolResult, TurnChannel } from "./turn-channel.js";
import type {
  Awaits,
  Decision,
  Input,
  JsonValue,
  LogRecord,
  MemoryBlock,
  Permission,
  ToolDeclaration,
  Usage,
  WaitingCall,
} from "./wire.js";

/** Options of {@link Interface.approval} and {@link Interface.clientRuns}. */
export interface WaitOptions {
  /**
   * Time limit in seconds, as in Python; fractions are allowed. The server's default is an hour for
   * approvals and two minutes for a client's tool.
   */
  timeout?: number;
}

/** Options of a thought or a message. */
export interface TextOptions {
  /**
   * Item of a thought or a message of `turn.soFar` that was cut, and whose text this one continues.
   * Clients show both as one.
   */
  continues?: string;
}

/**
 * An agent's side of one turn: the input, its context, and the verbs to answer with.
 *
 * Verbs are sent in order, also if the program does not await them. Up to 64 verbs may be
 * unacknowledged; the next one waits. If a verb that the program did not await is refused, the
 * verbs after it throw that refusal, and the turn fails. Every verb rejects with {@link EndedError}
 * once the turn has ended, and with `RefusedError` when the server refuses it.
 */
export class Interface {
  /** Inputs to answer: one, or all that joined the running turn together. */
  readonly inputs: readonly Input[];
  /** The agent's id. */
  readonly agent: string;
  /** The session's id. */
  readonly session: string;
  /** The turn's id. */
  readonly turn: string;
  /** Instructions of the session, in addition to the agent's persona. */
  readonly instructions: string | undefined;
  /** Newest events before the turn, as many as requested. A resumed turn's own events follow. */
  readonly history: readonly LogRecord[];
  /** Position after which `history` is complete. */
  readonly after: number | undefined;
  /** Core memory, if requested. */
  readonly memory: readonly MemoryBlock[];
  /** Tools that attached clients run; see {@link Interface.clientRuns}. */
  readonly clientTools: readonly ToolDeclaration[];
  /** Permissions of the declared tools that are `ask` or `deny`. */
  readonly permissions: Readonly<Record<string, Permission>>;
  /**
   * Whether the turn began in another process, or before the server was restarted, and these inputs
   * with it. False for inputs that joined the turn since.
   */
  readonly resumed: boolean;
  /** Number of interruptions of the turn that count against its limit; 0 for a first run. */
  readonly attempt: number;
  /**
   * Open calls of a resumed turn that wait for people or clients. {@link Interface.approval} and
   * {@link Interface.clientRuns} wait for the answer without asking again.
   */
  readonly waiting: readonly WaitingCall[];
  readonly #channel: TurnChannel;

  /** @internal Created for each call of an agent's function. */
  constructor(channel: TurnChannel, inputs: readonly Input[]) {
    const { run } = channel;
    this.inputs = inputs;
    this.agent = run.agent;
    this.session = run.session;
    this.turn = run.turn;
    this.instructions = run.instructions;
    this.history = run.history ?? [];
    this.after = run.after;
    this.memory = run.memory ?? [];
    this.clientTools = run.client_tools ?? [];
    this.permissions = run.permissions ?? {};
    this.resumed = run.resumed === true && inputs[0] === run.input;
    this.attempt = run.attempt ?? 0;
    this.waiting = run.waiting ?? [];
    this.#channel = channel;
  }

  /** Text of the inputs. */
  get userMessage(): string {
    return this.inputs.map((input) => input.text).join("\n\n");
  }

  /** References to files that came with the inputs. */
  get attachments(): string[] {
    return this.inputs.flatMap((input) => input.attachments ?? []);
  }

  /** The turn's own past events, in order: what earlier runs of it have sent. */
  get soFar(): LogRecord[] {
    return this.history.filter((record) => record.turn === this.turn);
  }

  /** Aborted when the turn has ended, for example because it was cancelled. */
  get signal(): AbortSignal {
    return this.#channel.signal;
  }

  /** Sends a complete thought; returns its item. */
  internalMonologue(text: string, options: TextOptions = {}): Promise<string> {
    return sendText(this.#channel, "internal_monologue", text, options);
  }

  /** Sends a complete message; returns its item. The function's return value is the last one. */
  assistantMessage(text: string, options: TextOptions = {}): Promise<string> {
    return sendText(this.#channel, "assistant_message", text, options);
  }

  /**
   * Sends a line in the form of MemGPT's agents: `Running NAME(ARGS)`, `Success: …`, `Error: …`.
   * For `Running` it resolves when the call is on disk and may run.
   */
  functionMessage(text: string): Promise<void> {
    const id = crypto.randomUUID();
    const verb = { verb: "function_message", text } as const;
    if (!text.startsWith("Running ")) return this.#channel.send(id, verb);
    return markHandled(this.#channel.request(id, verb).then(() => {}));
  }

  /**
   * Announces a tool call; returns the call's id when the call is on disk and may run. For a tool
   * with the permission `ask` that is when the owner has approved the call.
   *
   * @throws {RefusedError} `forbidden`, when the agent's permissions deny the tool, the owner
   * denied the call, or nobody approved it within an hour. Do not run the tool, and do not return
   * the call: the server has closed it.
   */
  toolCalled(name: string, args: Record<string, unknown> = {}): Promise<string> {
    return sendCall(this.#channel, crypto.randomUUID(), name, args);
  }

  /** Sends the result of a call. */
  toolReturned(
    call: string,
    text: string,
    { status = "success", content }: Partial<Omit<ToolResult, "text">> = {},
  ): Promise<void> {
    const verb = { verb: "tool_returned" as const, call, status, text };
    const whole = content === undefined ? verb : { ...verb, content };
    return this.#channel.send(crypto.randomUUID(), whole);
  }

  /**
   * Makes a call whose result a later run of the turn gets without making it again.
   *
   * Announces the call as {@link Interface.toolCalled} does, runs `make`, and sends its result: a
   * string, or another value of JSON. Nothing counts as an empty string. When the function starts
   * over in a resumed turn, the n-th such call of a tool with equal arguments stands for the n-th
   * one of the turn's past. Its result is returned, and `make` is not run.
   *
   * @throws {CallFailed} with the error's text, when the call failed in an earlier run, or when the
   * owner says that it failed. In the run in which `make` throws an error, that is thrown as it is:
   * the log has only its text.
   * @throws {OutcomeUnknown} when nobody knows whether the call took effect.
   * @throws {RefusedError} as `toolCalled` does.
   */
  callOnce(
    name: string,
    args: Record<string, unknown>,
    make: MakeCall,
    options: CallOnceOptions = {},
  ): Promise<JsonValue> {
    return markHandled(callOnce(this.#channel, name, args, make, options));
  }

  /**
   * Asks the owner to approve an open call; returns the decision. If the approval is already
   * requested, it only waits for the decision: in a resumed turn, or for a tool with the permission
   * `ask`, whose call was approved when it was made.
   */
  approval(call: string, options: WaitOptions = {}): Promise<Exclude<Decision, "void">> {
    const decision = this.#wait("approval", call, options).then((answer) => {
      if (answer.type !== "approval_settled" || answer.decision === "void") {
        throw new EndedError(`call ${call} ended before anybody decided on it`);
      }
      return answer.decision;
    });
    return markHandled(decision);
  }

  /**
   * Lets a client run an open call of one of {@link Interface.clientTools}; returns the result,
   * which the server has already stored. A call of a resumed turn that already waits for a client
   * is not handed out again.
   */
  clientRuns(call: string, options: WaitOptions = {}): Promise<ToolResult> {
    const result = this.#wait("client", call, options).then((answer) => {
      if (answer.type !== "tool_returned") {
        throw new EndedError(`call ${call} ended before a client returned a result`);
      }
      const { status, text, content } = answer;
      return { status, text, ...(content === undefined ? {} : { content }) };
    });
    return markHandled(result);
  }

  /** Starts a thought that is streamed. */
  thought(options: TextOptions = {}): ItemWriter {
    const send = (item: string, text: string) =>
      sendText(this.#channel, "internal_monologue", text, options, item);
    return new ItemWriter(this.#channel, "thought", send, options.continues);
  }

  /** Starts a message that is streamed. */
  message(options: TextOptions = {}): ItemWriter {
    const send = (item: string, text: string) =>
      sendText(this.#channel, "assistant_message", text, options, item);
    return new ItemWriter(this.#channel, "message", send, options.continues);
  }

  /**
   * Starts a call whose arguments, a JSON object, are streamed. It may run when `end()` has
   * resolved.
   */
  call(name: string): ItemWriter {
    return new ItemWriter(this.#channel, "tool_args", (item, text) =>
      sendCall(this.#channel, item, name, JSON.parse(text || "{}")),
    );
  }

  /** Shows people what the agent is doing. A status is not stored. */
  status(text: string): Promise<void> {
    return this.#channel.status(text);
  }

  /** Reports the turn's usage so far. The last report counts. */
  usage(usage: Usage): Promise<void> {
    return this.#channel.usage(usage);
  }

  #wait(awaits: Awaits, call: string, { timeout }: WaitOptions) {
    const limit = timeout === undefined ? {} : { timeout_ms: milliseconds(timeout) };
    const verb = awaits === "approval" ? ("approval" as const) : ("client_runs" as const);
    const ask = () => this.#channel.request(crypto.randomUUID(), { verb, call, ...limit });
    return this.#channel.answer(awaits, call, ask);
  }
}

/** @throws {RangeError} when the time is not positive and finite. */
function milliseconds(seconds: number): number {
  if (!(seconds > 0 && seconds < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`a timeout is a positive number of seconds, not ${seconds}`);
  }
  return Math.max(1, Math.round(seconds * 1000));
}

function sendText(
  channel: TurnChannel,
  verb: "internal_monologue" | "assistant_message",
  text: string,
  { continues }: TextOptions,
  item: string = crypto.randomUUID(),
): Promise<string> {
  const whole = { verb, text, ...(continues === undefined ? {} : { continues }) };
  return markHandled(channel.send(item, whole).then(() => item));
}

function sendCall(
  channel: TurnChannel,
  call: string,
  name: string,
  args: Record<string, unknown>,
): Promise<string> {
  // Arguments that are not JSON make the channel reject when it serializes them.
  const verb = { verb: "tool_called" as const, name, args: args as Record<string, JsonValue> };
  return markHandled(channel.request(call, verb).then(() => call));
}
