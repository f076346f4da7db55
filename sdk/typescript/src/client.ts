import { Backoff } from "./backoff.js";
import { ClosedError, RefusedError } from "./errors.js";
import { FINAL_CODES } from "./generated.js";
import type { Guest, Line } from "./guest.js";
import { PartJoiner } from "./parts.js";
import { Queue } from "./queue.js";
import { type AttachOptions, Room } from "./room.js";
import type { WebSocketClass, WebSocketLike } from "./socket.js";
import type {
  Ack,
  ClientFrame,
  HistoryEntry,
  Policy,
  ServerFrame,
  SessionListing,
  Style,
} from "./wire.js";

/** Codes of refusals of frames that the server could not read. */
const UNREADABLE = ["bad_frame", "too_large"];

/** Nothing heard for so long: ask whether the server is there; and for how long it may then be silent. */
const ASK_AFTER = 10_000;
const DEAD_AFTER = 8_000;
/** How long a connection may take to be greeted. */
const GREETED_WITHIN = 10_000;

/** After so many failed attempts in a row a connection that once stood is warned about; a first one at once. */
const WARN_AFTER = 5;

/** Bytes that wait to be written before who streams is held up, and how often it is seen whether they went out, in milliseconds. */
const UNWRITTEN = 1 << 20;
const LOOK_AGAIN = 20;

/** What a {@link Client} is made with. */
export interface ClientOptions {
  /**
   * The server's native wire, such as `ws://127.0.0.1:8282/v1/ws`; or a function that gives it, which is
   * called before each attempt to connect, for example to put a new ticket into it.
   */
  url: string | URL | (() => string | URL | Promise<string | URL>);
  /** A key, where the server wants one. */
  token?: string;
  /** A name for this client, for people who look at a session's log. */
  name?: string;
  /** The WebSocket to use where there is no global one: Node before 22, with the package `ws`. */
  webSocket?: WebSocketClass;
  /** Told, once for each outage, that no server answers; `console.warn` if left out. The client goes on trying. */
  onWarning?: (message: string) => void;
}

/** `waiting` is between two attempts; `closed` is for good. */
export type ClientState = "connecting" | "open" | "waiting" | "closed";

/** How a command is sent. */
export interface CommandOptions {
  /** A name of one's own for the command: under the same name it takes effect once, however often it is sent. */
  id?: string;
  /** Stops waiting for the answer. A command that was sent already may still take effect. */
  signal?: AbortSignal;
}

/** How an input is sent. */
export interface SendOptions extends CommandOptions {
  /** What happens while a turn runs; `queue` if left out. */
  policy?: Policy;
  /** References to files. */
  attachments?: string[];
}

/** An agent to make. */
export interface NewAgent {
  name: string;
  persona?: string;
  human?: string;
  model?: string;
  style?: Style;
}

/** A session to open. */
export interface NewSession {
  /** The agent's name or id. */
  agent: string;
  title?: string;
  instructions?: string;
  history?: HistoryEntry[];
}

interface Pending {
  frame: ClientFrame & { id: string };
  resolve: (ack: Ack) => void;
  reject: (error: unknown) => void;
  /** Takes the command's `abort` listener away. */
  settle: () => void;
}

/** A command without the id that the client gives it. */
export type Command = ClientFrame extends infer F
  ? F extends { id?: string }
    ? Omit<F, "id">
    : never
  : never;

/**
 * One connection to a server, made again whenever it breaks.
 *
 * Commands that have no answer when the connection breaks, or are asked while there is none, are sent
 * when it stands again, in their order and with their ids, so that each takes effect once.
 */
export class Client {
  readonly #options: ClientOptions;
  readonly #backoff = new Backoff();
  readonly #pending = new Map<string, Pending>();
  readonly #rooms = new Map<string, Room>();
  readonly #guests = new Set<Guest>();
  readonly #listeners = new Set<(state: ClientState, reason?: string) => void>();
  readonly #watchers = new Set<Queue<SessionListing | { gone: string }>>();
  #socket: WebSocketLike | undefined;
  #state: ClientState = "connecting";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pulse: ReturnType<typeof setTimeout> | undefined;
  /** How long the server asked to stay away. */
  #away = 0;
  /** Counts attempts to connect, so that the address of an old one is not used. */
  #attempt = 0;
  /** Attempts that failed since the connection stood, and whether it ever did. */
  #failures = 0;
  #stood = false;
  #retryAt: number | undefined;
  /** The largest frame that the server takes, in bytes, as its greeting says: beyond it the connection would end. */
  #largest = Infinity;
  #parts = new PartJoiner();
  /** The id of the command that was sent last on this connection. */
  #last?: string | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#connect();
  }

  /** Whether the connection stands. */
  get state(): ClientState {
    return this.#state;
  }

  /** When the next attempt to connect is made, in milliseconds since 1970, while the state is `waiting`. */
  get retryAt(): number | undefined {
    return this.#state === "waiting" ? this.#retryAt : undefined;
  }

  /** How many commands wait for their answer. */
  get waiting(): number {
    return this.#pending.size;
  }

  /** Calls back whenever {@link Client.state} changes; gives a function that ends that. */
  onState(listener: (state: ClientState, reason?: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes an agent with its main session. */
  async createAgent(
    agent: NewAgent,
    options?: CommandOptions,
  ): Promise<{ agent: NonNullable<Ack["agent"]>; session: string }> {
    const ack = await this.command({ type: "create_agent", ...agent }, options);
    if (!ack.agent || !ack.session)
      throw new Error("the server acknowledged an agent without telling it");
    return { agent: ack.agent, session: ack.session };
  }

  /** Gives an agent by its name, with its main session: one that is not there is made, one that is stays as it is. */
  async ensureAgent(
    agent: NewAgent,
    options: CommandOptions = {},
  ): Promise<{ agent: NonNullable<Ack["agent"]>; session: string }> {
    try {
      return await this.createAgent(agent, options);
    } catch (error) {
      // A key that may make no agents may still use those there are.
      if (
        !(
          error instanceof RefusedError &&
          (error.code === "name_taken" || error.code === "forbidden")
        )
      )
        throw error;
      const found = await this.#find(agent.name, options.signal);
      if (!found) throw error;
      return found;
    }
  }

  async #find(
    name: string,
    signal?: AbortSignal,
  ): Promise<{ agent: NonNullable<Ack["agent"]>; session: string } | undefined> {
    const { url, token } = this.#options;
    const wire = String(typeof url === "function" ? await url() : url);
    const address = wire
      .replace(/^ws/, "http")
      .replace(/\/v1\/ws\b.*$/, `/v1/agents/${encodeURIComponent(name)}`);
    const headers: Record<string, string> =
      token === undefined ? {} : { authorization: `Bearer ${token}` };
    const answer = await fetch(address, { headers, ...(signal ? { signal } : {}) });
    if (answer.status === 404) return undefined;
    const body = (await answer.json()) as {
      agent?: NonNullable<Ack["agent"]> & { main_session: string };
      error?: { code: string; reason: string };
    };
    if (body.error)
      throw new RefusedError({ type: "refused", ...body.error, retry: answer.status >= 500 });
    return body.agent && { agent: body.agent, session: body.agent.main_session };
  }

  /** Opens a session with an agent; gives its id. */
  async createSession(session: NewSession, options?: CommandOptions): Promise<string> {
    const { history, ...rest } = session;
    const ack = await this.command(
      { type: "create_session", ...rest, ...(history ? { history } : {}) } as Command,
      options,
    );
    if (!ack.session) throw new Error("the server acknowledged a session without telling it");
    return ack.session;
  }

  /** Deletes a session and its log. */
  async deleteSession(session: string, options?: CommandOptions): Promise<void> {
    await this.command({ type: "delete_session", session }, options);
  }

  /** Takes a place in a session. One client has at most one in each. */
  attach(session: string, options: AttachOptions = {}): Room {
    if (this.#rooms.has(session)) throw new Error(`this client is attached to ${session} already`);
    if (options.signal?.aborted) throw options.signal.reason;
    const room = new Room(
      session,
      options,
      this,
      (frame) => this.#write(frame),
      () => this.#rooms.delete(session),
    );
    this.#rooms.set(session, room);
    options.signal?.addEventListener("abort", () => room.leave(), { once: true });
    if (this.#state === "open") room.opened();
    else if (this.#state === "closed") room.ended(new ClosedError("the client is closed"));
    return room;
  }

  /** @internal Lets something else share the connection; it finds out by itself whether one stands. */
  join(guest: Guest): Line {
    if (this.#state === "closed") throw new ClosedError("the client is closed");
    this.#guests.add(guest);
    const write = (wire: string) => this.#tooLarge(wire) ?? this.#send(wire);
    return {
      write,
      spacious: () => this.#spacious(),
      leave: () => void this.#guests.delete(guest),
    };
  }

  /** The list of sessions: all that there are, then each that changes; `{ gone }` for one that left. */
  watch({
    signal,
  }: {
    signal?: AbortSignal;
  } = {}): AsyncIterableIterator<SessionListing | { gone: string }> {
    const queue = new Queue<SessionListing | { gone: string }>();
    this.#watchers.add(queue);
    if (this.#state === "open") this.#write({ type: "watch" });
    const stop = () => {
      this.#watchers.delete(queue);
      queue.end();
      return Promise.resolve({ done: true as const, value: undefined });
    };
    if (signal?.aborted) void stop();
    signal?.addEventListener("abort", () => void stop(), { once: true });
    return {
      next: () => queue.next(),
      return: stop,
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /**
   * Sends a command and waits for its answer.
   *
   * @throws {RefusedError} when the server says no.
   * @throws {ClosedError} when the client is closed first.
   */
  command(
    command: Command,
    { id = crypto.randomUUID(), signal }: CommandOptions = {},
  ): Promise<Ack> {
    if (this.#state === "closed") return Promise.reject(new ClosedError("the client is closed"));
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#pending.has(id))
      return Promise.reject(new Error(`a command ${id} waits for its answer already`));
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#pending.delete(id);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const frame = { ...command, id } as ClientFrame & { id: string };
      this.#pending.set(id, {
        frame,
        resolve,
        reject,
        settle: () => signal?.removeEventListener("abort", abort),
      });
      if (this.#state === "open") this.#ask(frame);
    });
  }

  /**
   * Looks now whether the connection lives, and makes it now if there is none: for when a machine wakes
   * up, or its network has changed.
   */
  wake(): void {
    if (this.#state === "waiting") {
      clearTimeout(this.#timer);
      this.#connect();
    } else if (this.#state === "open") {
      clearTimeout(this.#pulse);
      this.#write({ type: "ping" });
      this.#pulse = setTimeout(() => this.#drop("the server fell silent"), DEAD_AFTER / 2);
    }
  }

  /** Ends the connection for good. What waits for an answer is rejected. */
  close(): Promise<void> {
    const socket = this.#socket;
    this.#end(new ClosedError("the client was closed"));
    if (!socket || socket.readyState === socket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => {
      socket.addEventListener("close", () => resolve(), { once: true });
      socket.close(1000);
    });
  }

  #connect(): void {
    const Socket = this.#options.webSocket ?? (globalThis.WebSocket as WebSocketClass | undefined);
    if (!Socket)
      throw new Error(
        "there is no WebSocket here: pass one as `webSocket`, for example that of the package `ws`",
      );
    const { url } = this.#options;
    const attempt = (this.#attempt += 1);
    if (typeof url === "function") {
      const isCurrent = () => attempt === this.#attempt && this.#state === "connecting";
      Promise.resolve()
        .then(url)
        .then(
          (url) => isCurrent() && this.#dial(Socket, String(url)),
          (error: unknown) =>
            isCurrent() &&
            this.#broke(1006, error instanceof Error ? error.message : String(error)),
        );
    } else {
      this.#dial(Socket, String(url));
    }
    this.#enter("connecting");
    this.#pulse = setTimeout(() => this.#drop("the server did not greet"), GREETED_WITHIN);
  }

  #dial(Socket: WebSocketClass, url: string): void {
    const socket = new Socket(url, ["thoughtwire.v1"]);
    this.#socket = socket;
    this.#parts = new PartJoiner();
    this.#last = undefined;
    socket.onmessage = (message: { data: unknown }) => {
      if (socket === this.#socket) this.#heard(message.data);
    };
    // A failed attempt ends with `close` as well.
    socket.onerror = () => {};
    socket.onclose = (event: { code: number; reason: string }) => {
      if (socket === this.#socket) this.#broke(event.code, event.reason);
    };
  }

  #heard(data: unknown): void {
    const read = parse(data);
    if (this.#state === "open" || read?.type === "welcome") this.#beat();
    if (!read) return;
    let frame: ServerFrame | undefined;
    try {
      frame = this.#parts.take(read);
    } catch (error) {
      // What was missed is found again from the cursors of the next connection.
      return this.#drop(`the server sent parts that do not fit: ${String(error)}`);
    }
    if (!frame) return;
    switch (frame.type) {
      case "welcome":
        this.#largest = frame.limits.frame_bytes ?? Infinity;
        return this.#welcomed();
      case "ack":
        if (this.#pending.has(frame.id))
          return this.#settle(frame.id, (pending) => pending.resolve(frame));
        return this.#pass(frame);
      case "refused":
        if (frame.id !== undefined && this.#pending.has(frame.id)) {
          return this.#settle(frame.id, (pending) => pending.reject(new RefusedError(frame)));
        }
        if (
          frame.id === undefined &&
          this.#last !== undefined &&
          this.#pending.has(this.#last) &&
          UNREADABLE.includes(frame.code)
        ) {
          // The server could not read the id: sent again, the frame would be refused again.
          const last = this.#last;
          this.#last = undefined;
          return this.#settle(last, (pending) => pending.reject(new RefusedError(frame)));
        }
        if (frame.id !== undefined && this.#rooms.has(frame.id))
          return this.#rooms.get(frame.id)?.refused(new RefusedError(frame));
        return this.#pass(frame);
      case "session":
        return this.#toWatchers(frame.listing);
      case "session_gone":
        return this.#toWatchers({ gone: frame.session });
      case "goaway":
        this.#away = frame.retry_after_ms;
        return;
      case "pong":
        return;
      case "run":
      case "cancel":
      case "approval_settled":
      case "tool_returned":
      case "offer_ended":
        return this.#pass(frame);
      default:
        // Frames of a session; a type from a newer server is nobody's and passed over.
        if ("session" in frame && typeof frame.session === "string")
          this.#rooms.get(frame.session)?.heard(frame);
    }
  }

  #toWatchers(change: SessionListing | { gone: string }): void {
    for (const queue of this.#watchers) queue.push(change);
  }

  #pass(frame: ServerFrame): void {
    for (const guest of this.#guests) if (guest.heard(frame)) return;
  }

  #welcomed(): void {
    this.#backoff.reset();
    [this.#failures, this.#stood] = [0, true];
    this.#enter("open");
    const { token, name } = this.#options;
    if (token !== undefined || name !== undefined) {
      this.#write({
        type: "hello",
        ...(token === undefined ? {} : { token }),
        ...(name === undefined ? {} : { client: name }),
      });
    }
    for (const room of this.#rooms.values()) room.opened();
    for (const guest of [...this.#guests]) guest.opened();
    if (this.#watchers.size > 0) this.#write({ type: "watch" });
    // In the order in which they were asked: a Map keeps it.
    for (const { frame } of [...this.#pending.values()]) this.#ask(frame);
  }

  #ask(frame: ClientFrame & { id: string }): void {
    const wire = JSON.stringify(frame);
    const refused = this.#tooLarge(wire);
    if (refused) return this.#settle(frame.id, (pending) => pending.reject(refused));
    this.#last = frame.id;
    this.#send(wire);
  }

  #tooLarge(wire: string): RefusedError | undefined {
    // No character of JavaScript's has more than three bytes.
    if (wire.length * 3 <= this.#largest) return undefined;
    const size = new TextEncoder().encode(wire).length;
    if (size <= this.#largest) return undefined;
    const reason = `the frame has ${size} bytes, and the server takes ${this.#largest}`;
    return new RefusedError({ type: "refused", code: "too_large", reason, retry: false });
  }

  #settle(id: string, how: (pending: Pending) => void): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    pending.settle();
    how(pending);
  }

  #broke(code: number, reason: string): void {
    clearTimeout(this.#pulse);
    if (this.#state === "closed") return;
    if (FINAL_CODES.includes(code)) {
      return this.#end(
        new ClosedError(
          `the server closed the connection for good (${code}${reason ? `: ${reason}` : ""})`,
        ),
      );
    }
    for (const room of this.#rooms.values()) room.broke();
    for (const guest of this.#guests) guest.broke();
    const pause = this.#backoff.next(this.#away);
    this.#away = 0;
    this.#retryAt = Date.now() + pause;
    this.#warn(reason);
    this.#enter("waiting", reason);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  /** Says once that nobody answers: a program that merely waits would not say why. */
  #warn(reason: string): void {
    this.#failures += 1;
    if (this.#failures !== (this.#stood ? WARN_AFTER : 1)) return;
    const { url, onWarning = console.warn } = this.#options;
    const where = typeof url === "function" ? "its address" : String(url).replace(/\?.*/, "");
    onWarning(
      `thoughtwire: no server answers at ${where}${reason ? ` (${reason})` : ""}; trying again until one does`,
    );
  }

  #end(error: ClosedError): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#timer);
    clearTimeout(this.#pulse);
    this.#enter("closed", error.message);
    for (const id of [...this.#pending.keys()])
      this.#settle(id, (pending) => pending.reject(error));
    for (const room of [...this.#rooms.values()]) room.ended(error);
    for (const guest of [...this.#guests]) guest.closed(error);
    for (const queue of this.#watchers) queue.end();
  }

  #enter(state: ClientState, reason?: string): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state, reason);
  }

  /** Browsers do not show the server's pings, so silence is asked about. */
  #beat(): void {
    clearTimeout(this.#pulse);
    this.#pulse = setTimeout(() => {
      this.#write({ type: "ping" });
      this.#pulse = setTimeout(() => this.#drop("the server fell silent"), DEAD_AFTER);
    }, ASK_AFTER);
  }

  /** Gives a connection up that may be dead: its close would come late or never. */
  #drop(reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.#broke(1006, reason);
  }

  #write(frame: ClientFrame): void {
    this.#send(JSON.stringify(frame));
  }

  #send(wire: string): undefined {
    if (this.#socket?.readyState === 1) this.#socket.send(wire);
  }

  async #spacious(): Promise<void> {
    // A WebSocket does not tell when it has written: it is looked after.
    while (this.#socket?.readyState === 1 && this.#socket.bufferedAmount > UNWRITTEN) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    }
  }
}

/** A frame; nothing for what is none. */
function parse(data: unknown): ServerFrame | undefined {
  try {
    const frame: unknown = JSON.parse(String(data));
    return typeof frame === "object" && frame !== null ? (frame as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}
