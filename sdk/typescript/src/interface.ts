/** How an agent speaks in one turn. */
import { heeded } from "./deferred.js";
import { EndedError } from "./errors.js";
import type { Turn } from "./turn.js";
import type {
  Awaits,
  Decision,
  Input,
  JsonValue,
  LogRecord,
  MemoryBlock,
  Permission,
  StreamKind,
  ToolDeclaration,
  ToolStatus,
  Usage,
  WaitingCall,
} from "./wire.js";

/** What a client's tool came back with. */
export interface Returned {
  status: ToolStatus;
  text: string;
  content?: JsonValue;
}

/** How something is waited for. */
export interface WaitOptions {
  /** In seconds, whole or not, as in Python; the server's own time if left out: an hour for people, two minutes for a client's tool. */
  timeout?: number;
}

/**
 * An agent's voice in one turn, and what it was told.
 *
 * Everything is said in order, also by a program that does not `await`. What needs not wait for the
 * server does not, until 64 verbs are unacknowledged. A no to one that nobody waits for any more is
 * thrown by all that is said behind it, and fails the turn. All verbs reject with {@link EndedError} when
 * the turn is over, and with {@link RefusedError} when the server says no.
 */
export class Interface {
  /** What to answer: one input, or those that joined the running turn, together. */
  readonly inputs: readonly Input[];
  /** The agent's id. */
  readonly agent: string;
  /** The session's id. */
  readonly session: string;
  /** The turn's id. */
  readonly turn: string;
  /** What this session adds to the agent's persona. */
  readonly instructions: string | undefined;
  /** The newest events before the turn, as many as were asked for; in a resumed turn its own as well. */
  readonly history: readonly LogRecord[];
  /** The position behind which `history` is whole. */
  readonly after: number | undefined;
  /** Core memory, where it was asked for. */
  readonly memory: readonly MemoryBlock[];
  /** Tools that attached clients run; see {@link Interface.clientRuns}. */
  readonly clientTools: readonly ToolDeclaration[];
  /** Of the declared tools those that are not allowed outright. */
  readonly permissions: Readonly<Record<string, Permission>>;
  /** Whether the turn was begun before: by another process, or before the server was started anew. */
  readonly resumed: boolean;
  /**
   * The open calls of a resumed turn about which people or clients were asked. {@link Interface.approval}
   * and {@link Interface.clientRuns} wait for the answer, and ask nobody again.
   */
  readonly waiting: readonly WaitingCall[];
  readonly #turn: Turn;

  /** @internal Made for each call of an agent's function. */
  constructor(turn: Turn, inputs: readonly Input[]) {
    const { run } = turn;
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
    this.resumed = run.resumed ?? false;
    this.waiting = run.waiting ?? [];
    this.#turn = turn;
  }

  /** What the agent was told. */
  get userMessage(): string {
    return this.inputs.map((input) => input.text).join("\n\n");
  }

  /** References to files that came along. */
  get attachments(): string[] {
    return this.inputs.flatMap((input) => input.attachments ?? []);
  }

  /** Aborted when the turn is over, because it was cancelled for example. */
  get signal(): AbortSignal {
    return this.#turn.signal;
  }

  /** Says a whole thought; gives its item. */
  internalMonologue(text: string): Promise<string> {
    return whole(this.#turn, "internal_monologue", text);
  }

  /** Says a whole message; gives its item. What the agent's function returns is the last one. */
  assistantMessage(text: string): Promise<string> {
    return whole(this.#turn, "assistant_message", text);
  }

  /**
   * Says a line as MemGPT's agents give it: `Running NAME(ARGS)`, `Success: …`, `Error: …`. A call has
   * been written when this resolves, and may run.
   */
  functionMessage(text: string): Promise<void> {
    const [id, verb] = [crypto.randomUUID(), { verb: "function_message", text } as const];
    return heeded(
      text.startsWith("Running ")
        ? this.#turn.ask(id, verb).then(() => {})
        : this.#turn.tell(id, verb),
    );
  }

  /**
   * Says that a tool is about to run; gives the call's id when that is on disk: it may run then. For a
   * tool with the permission `ask` it resolves once the owner has approved the call.
   *
   * @throws {RefusedError} `forbidden`, when the agent's permissions deny the tool, when the owner denied
   * the call, or when nobody approved it within an hour. The tool must not run. The server has closed the
   * call: do not return it.
   */
  toolCalled(name: string, args: Record<string, unknown> = {}): Promise<string> {
    return called(this.#turn, crypto.randomUUID(), name, args);
  }

  /** Says what a call came back with. */
  toolReturned(
    call: string,
    text: string,
    { status = "success", content }: Partial<Omit<Returned, "text">> = {},
  ): Promise<void> {
    const more = content === undefined ? {} : { content };
    return this.#turn.tell(crypto.randomUUID(), {
      verb: "tool_returned",
      call,
      status,
      text,
      ...more,
    });
  }

  /**
   * Asks the owner's leave for an open call, and waits for the answer. A call of a resumed turn that
   * waits for leave already is only waited for. For a tool with the permission `ask` the server has asked
   * at the call, so that this gives `approved`.
   */
  approval(call: string, options: WaitOptions = {}): Promise<Exclude<Decision, "void">> {
    return heeded(
      this.#wait("approval", call, options).then((answer) => {
        if (answer.type !== "approval_settled" || answer.decision === "void")
          throw new EndedError("the call ended without a decision");
        return answer.decision;
      }),
    );
  }

  /**
   * Has a client run an open call of one of {@link Interface.clientTools}, and waits for the result, which
   * the server has written already. A call of a resumed turn that waits for a client already is only
   * waited for.
   */
  clientRuns(call: string, options: WaitOptions = {}): Promise<Returned> {
    return heeded(
      this.#wait("client", call, options).then((answer) => {
        if (answer.type !== "tool_returned")
          throw new EndedError("the call ended without a result");
        const { status, text, content } = answer;
        return { status, text, ...(content === undefined ? {} : { content }) };
      }),
    );
  }

  /** A thought that is said in pieces. */
  thought(): Streamed {
    return new Streamed(this.#turn, "thought", (item, text) =>
      whole(this.#turn, "internal_monologue", text, item),
    );
  }

  /** A message that is said in pieces. */
  message(): Streamed {
    return new Streamed(this.#turn, "message", (item, text) =>
      whole(this.#turn, "assistant_message", text, item),
    );
  }

  /** A call whose arguments, a JSON object, are said in pieces. It may run when its `end()` has resolved. */
  call(name: string): Streamed {
    return new Streamed(this.#turn, "tool_args", (item, text) =>
      called(this.#turn, item, name, JSON.parse(text || "{}")),
    );
  }

  /** Says what goes on, for people. It is not kept. */
  status(text: string): Promise<void> {
    return this.#turn.status(text);
  }

  /** Says what the turn cost so far. The last one counts. */
  usage(usage: Usage): Promise<void> {
    return this.#turn.usage(usage);
  }

  #wait(awaits: Awaits, call: string, { timeout }: WaitOptions) {
    const verb = awaits === "approval" ? ("approval" as const) : ("client_runs" as const);
    const question = {
      verb,
      call,
      ...(timeout === undefined ? {} : { timeout_ms: milliseconds(timeout) }),
    };
    return this.#turn.answer(awaits, call, () => this.#turn.ask(crypto.randomUUID(), question));
  }
}

/**
 * Something that is said in pieces, and is whole with {@link Streamed.end}. What is never ended is cut off
 * with what there was of it when the turn ends.
 */
export class Streamed {
  /** Its item; a call's id. */
  readonly item = crypto.randomUUID() as string;
  readonly #turn: Turn;
  readonly #kind: StreamKind;
  readonly #whole: (item: string, text: string) => Promise<unknown>;
  #text = "";

  /** @internal Made by an {@link Interface}. */
  constructor(
    turn: Turn,
    kind: StreamKind,
    whole: (item: string, text: string) => Promise<unknown>,
  ) {
    this.#turn = turn;
    this.#kind = kind;
    this.#whole = whole;
  }

  /** What was said of it so far. */
  get text(): string {
    return this.#text;
  }

  /** Says the next piece; held up while the connection does not keep up. */
  write(text: string): Promise<void> {
    if (text === "") return Promise.resolve();
    this.#text += text;
    return this.#turn.delta(this.item, this.#kind, text);
  }

  /** Says the whole; gives its item. A thought or a message of no text is not said at all. */
  end(): Promise<string> {
    const nothing = this.#text === "" && this.#kind !== "tool_args";
    return heeded(
      (async () => {
        if (!nothing) await this.#whole(this.item, this.#text);
        return this.item;
      })(),
    );
  }
}

/** @throws {RangeError} for what is no time to wait. */
function milliseconds(seconds: number): number {
  if (!(seconds > 0 && seconds < Infinity))
    throw new RangeError(
      `a timeout is more than no seconds and comes to an end, unlike ${seconds}`,
    );
  return Math.max(1, Math.round(seconds * 1000));
}

type Whole = "internal_monologue" | "assistant_message";

function whole(
  turn: Turn,
  verb: Whole,
  text: string,
  item: string = crypto.randomUUID(),
): Promise<string> {
  return heeded(turn.tell(item, { verb, text }).then(() => item));
}

function called(
  turn: Turn,
  call: string,
  name: string,
  args: Record<string, unknown>,
): Promise<string> {
  // What JSON cannot say rejects there, where it is written.
  return heeded(
    turn
      .ask(call, { verb: "tool_called", name, args: args as Record<string, JsonValue> })
      .then(() => call),
  );
}
