import type { Command, CommandOptions, NewAgent, NewSession } from "./commands.js";
import { type ClientState, Connection, type ConnectionOptions } from "./connection.js";
import { ClosedError, RefusedError } from "./errors.js";
import type { FrameHandler, FrameWriter } from "./handler.js";
import { Queue } from "./queue.js";
import { type AttachOptions, Room } from "./room.js";
import type { Ack, ClientFrame, Refused, ServerFrame, SessionListing } from "./wire.js";

/** Refusal codes for frames whose id the server could not read. */
const UNREADABLE = ["bad_frame", "too_large"];

/** Options of a {@link Client}. */
export interface ClientOptions extends ConnectionOptions {
  /** API key, where the server requires one. */
  token?: string;
  /** Name of this client, shown to people who read a session's log. */
  name?: string;
}

/** An agent and the id of its main session. */
export interface AgentAndSession {
  agent: NonNullable<Ack["agent"]>;
  session: string;
}

/** Change in the list of sessions: a new or changed one, or the id of one that is gone. */
export type SessionChange = SessionListing | { gone: string };

interface PendingCommand {
  frame: ClientFrame & { id: string };
  resolve: (ack: Ack) => void;
  reject: (error: unknown) => void;
  /** Removes the command's `abort` listener. */
  cleanUp: () => void;
}

/**
 * One connection to a server, made again whenever it is lost.
 *
 * Commands that are unanswered when the connection is lost, or issued while there is none, are sent
 * on the next connection: in order and with the same ids, so that each takes effect once.
 */
export class Client {
  readonly #options: ClientOptions;
  readonly #connection: Connection;
  readonly #pending = new Map<string, PendingCommand>();
  readonly #rooms = new Map<string, Room>();
  readonly #handlers = new Set<FrameHandler>();
  readonly #watchers = new Set<Queue<SessionChange>>();
  /** Id of the last command sent on this connection. */
  #lastSent: string | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#connection = new Connection(options, {
      onOpen: () => this.#onOpen(),
      onFrame: (frame) => this.#onFrame(frame),
      onDisconnect: () => this.#onDisconnect(),
      onClose: (error) => this.#onClose(error),
    });
  }

  /** State of the connection. */
  get state(): ClientState {
    return this.#connection.state;
  }

  /** Time of the next connection attempt in milliseconds since 1970, in state `waiting`. */
  get retryAt(): number | undefined {
    return this.#connection.retryAt;
  }

  /** Number of commands that wait for their answer. */
  get waiting(): number {
    return this.#pending.size;
  }

  /**
   * Calls `listener` at each change of {@link Client.state}; returns a function that stops that.
   */
  onState(listener: (state: ClientState, reason?: string) => void): () => void {
    return this.#connection.onState(listener);
  }

  /** Creates an agent with its main session. */
  async createAgent(agent: NewAgent, options?: CommandOptions): Promise<AgentAndSession> {
    const ack = await this.command({ type: "create_agent", ...agent }, options);
    if (!ack.agent || !ack.session) {
      throw new Error("the server's ack of create_agent lacks the agent or its session");
    }
    return { agent: ack.agent, session: ack.session };
  }

  /** Returns the agent of this name and its main session; creates them if there are none. */
  async ensureAgent(agent: NewAgent, options: CommandOptions = {}): Promise<AgentAndSession> {
    try {
      return await this.createAgent(agent, options);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      // A key that may not create agents may still use an existing one.
      if (error.code !== "name_taken" && error.code !== "forbidden") throw error;
      const found = await this.#findAgent(agent.name, options.signal);
      if (!found) throw error;
      return found;
    }
  }

  async #findAgent(name: string, signal?: AbortSignal): Promise<AgentAndSession | undefined> {
    const { url, token } = this.#options;
    const wire = String(typeof url === "function" ? await url() : url);
    const path = `/v1/agents/${encodeURIComponent(name)}`;
    const address = wire.replace(/^ws/, "http").replace(/\/v1\/ws\b.*$/, path);
    const headers: Record<string, string> =
      token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(address, { headers, ...(signal ? { signal } : {}) });
    if (response.status === 404) return undefined;
    const body = (await response.json()) as {
      agent?: AgentAndSession["agent"] & { main_session: string };
      error?: { code: string; reason: string };
    };
    if (body.error) {
      throw new RefusedError({ type: "refused", ...body.error, retry: response.status >= 500 });
    }
    return body.agent && { agent: body.agent, session: body.agent.main_session };
  }

  /** Creates a session with an agent; returns its id. */
  async createSession(session: NewSession, options?: CommandOptions): Promise<string> {
    const ack = await this.command({ type: "create_session", ...session }, options);
    if (!ack.session) throw new Error("the server's ack of create_session lacks the session's id");
    return ack.session;
  }

  /** Deletes a session and its log. */
  async deleteSession(session: string, options?: CommandOptions): Promise<void> {
    await this.command({ type: "delete_session", session }, options);
  }

  /**
   * Attaches to a session. A client has at most one room per session.
   *
   * @throws {Error} when this client is already attached to the session.
   */
  attach(session: string, options: AttachOptions = {}): Room {
    if (this.#rooms.has(session)) {
      throw new Error(
        `this client is already attached to ${session}: use that room, or leave it first`,
      );
    }
    if (options.signal?.aborted) throw options.signal.reason;
    const room = new Room(session, options, {
      client: this,
      write: (frame) => this.#connection.send(frame),
      onEnd: () => this.#rooms.delete(session),
    });
    this.#rooms.set(session, room);
    options.signal?.addEventListener("abort", () => room.leave(), { once: true });
    if (this.state === "open") room.connected();
    else if (this.state === "closed") room.end(clientIsClosed());
    return room;
  }

  /** @internal Registers a handler for frames that are not about a session. */
  register(handler: FrameHandler): FrameWriter {
    if (this.state === "closed") throw clientIsClosed();
    this.#handlers.add(handler);
    return {
      write: (text) => {
        const refusal = this.#connection.refusalOf(text);
        if (!refusal) this.#connection.sendText(text);
        return refusal;
      },
      writable: () => this.#connection.writable(),
      unregister: () => void this.#handlers.delete(handler),
    };
  }

  /** Iterates over the list of sessions: all existing ones first, then each change. */
  watch({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<SessionChange> {
    const queue = new Queue<SessionChange>();
    this.#watchers.add(queue);
    if (this.state === "open") this.#connection.send({ type: "watch" });
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
   * @throws {RefusedError} when the server refuses the command.
   * @throws {ClosedError} when the client is closed before the answer.
   */
  command(
    command: Command,
    { id = crypto.randomUUID(), signal }: CommandOptions = {},
  ): Promise<Ack> {
    if (this.state === "closed") return Promise.reject(clientIsClosed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#pending.has(id)) {
      return Promise.reject(
        new Error(`command ${id} is still waiting for its answer: choose another id`),
      );
    }
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#pending.delete(id);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const frame = { ...command, id } as ClientFrame & { id: string };
      const cleanUp = () => signal?.removeEventListener("abort", abort);
      this.#pending.set(id, { frame, resolve, reject, cleanUp });
      if (this.state === "open") this.#sendCommand(frame);
    });
  }

  /**
   * Checks the connection now, or connects now if there is none. Call it when the machine wakes up
   * or its network has changed.
   */
  wake(): void {
    this.#connection.wake();
  }

  /** Closes the client for good. Commands that wait for an answer are rejected. */
  close(): Promise<void> {
    return this.#connection.close();
  }

  #onOpen(): void {
    const { token, name } = this.#options;
    if (token !== undefined || name !== undefined) {
      this.#connection.send({
        type: "hello",
        ...(token === undefined ? {} : { token }),
        ...(name === undefined ? {} : { client: name }),
      });
    }
    for (const room of this.#rooms.values()) room.connected();
    for (const handler of [...this.#handlers]) handler.connected();
    if (this.#watchers.size > 0) this.#connection.send({ type: "watch" });
    // A Map iterates in the order in which the commands were issued.
    for (const { frame } of [...this.#pending.values()]) this.#sendCommand(frame);
  }

  #onDisconnect(): void {
    this.#lastSent = undefined;
    for (const room of this.#rooms.values()) room.disconnected();
    for (const handler of this.#handlers) handler.disconnected();
  }

  #onClose(error: ClosedError): void {
    for (const id of [...this.#pending.keys()]) {
      this.#settle(id, (pending) => pending.reject(error));
    }
    for (const room of [...this.#rooms.values()]) room.end(error);
    for (const handler of [...this.#handlers]) handler.closed(error);
    for (const queue of this.#watchers) queue.end();
  }

  #onFrame(frame: ServerFrame): void {
    switch (frame.type) {
      case "ack":
        if (!this.#pending.has(frame.id)) return this.#toHandlers(frame);
        return this.#settle(frame.id, (pending) => pending.resolve(frame));
      case "refused":
        return this.#onRefused(frame);
      case "session":
        return this.#toWatchers(frame.listing);
      case "session_gone":
        return this.#toWatchers({ gone: frame.session });
      case "run":
      case "cancel":
      case "approval_settled":
      case "tool_returned":
      case "offer_ended":
        return this.#toHandlers(frame);
      default:
        // A frame about a session. Unknown types of a newer server are ignored.
        if ("session" in frame && typeof frame.session === "string") {
          this.#rooms.get(frame.session)?.receive(frame);
        }
    }
  }

  #onRefused(frame: Refused): void {
    const id = frame.id ?? this.#unreadableCommand(frame.code);
    if (id !== undefined && this.#pending.has(id)) {
      return this.#settle(id, (pending) => pending.reject(new RefusedError(frame)));
    }
    // A room's attach carries the session as its id.
    const room = frame.id === undefined ? undefined : this.#rooms.get(frame.id);
    if (room) return room.refused(new RefusedError(frame));
    this.#toHandlers(frame);
  }

  /**
   * Returns the command that a refusal without an id is about: the last one, if the server could
   * not read it. Sent again, it would be refused again.
   */
  #unreadableCommand(code: string): string | undefined {
    if (!UNREADABLE.includes(code)) return undefined;
    const id = this.#lastSent;
    if (id !== undefined && this.#pending.has(id)) this.#lastSent = undefined;
    return id;
  }

  #toWatchers(change: SessionChange): void {
    for (const queue of this.#watchers) queue.push(change);
  }

  #toHandlers(frame: ServerFrame): void {
    for (const handler of this.#handlers) if (handler.receive(frame)) return;
  }

  #sendCommand(frame: ClientFrame & { id: string }): void {
    const text = JSON.stringify(frame);
    const refusal = this.#connection.refusalOf(text);
    if (refusal) return this.#settle(frame.id, (pending) => pending.reject(refusal));
    this.#lastSent = frame.id;
    this.#connection.sendText(text);
  }

  #settle(id: string, settle: (pending: PendingCommand) => void): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    pending.cleanUp();
    settle(pending);
  }
}

const clientIsClosed = (): ClosedError => new ClosedError("the client is closed: create a new one");
