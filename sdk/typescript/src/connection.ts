import { Backoff } from "./backoff.js";
import { ClosedError, RefusedError } from "./errors.js";
import { FINAL_CODES } from "./generated.js";
import { PartJoiner } from "./parts.js";
import type { WebSocketClass, WebSocketLike } from "./socket.js";
import type { ClientFrame, ServerFrame } from "./wire.js";

/** Time without a frame after which a ping is sent, in milliseconds. */
const PING_AFTER = 10_000;
/** Time that the answer to a ping may take, in milliseconds. */
const PONG_TIMEOUT = 8_000;
/** Time from a connection attempt to the server's `welcome`, in milliseconds. */
const WELCOME_TIMEOUT = 10_000;

/** Failed attempts in a row before a warning. The very first attempt warns at once. */
const WARN_AFTER = 5;

/** Bytes in the WebSocket's send buffer at which a streaming writer pauses. */
const MAX_BUFFERED_BYTES = 1 << 20;
/** Interval at which the send buffer is checked while a writer pauses, in milliseconds. */
const BUFFER_POLL = 20;

/** Options of a connection. */
export interface ConnectionOptions {
  /**
   * Address of the native wire, such as `ws://127.0.0.1:8282/v1/ws`. A function is called before
   * each attempt to connect, for example to put a new ticket into the address.
   */
  url: string | URL | (() => string | URL | Promise<string | URL>);
  /**
   * WebSocket class to use where there is no global one: Node before 22, with the package `ws`.
   */
  webSocket?: WebSocketClass;
  /**
   * Called once per outage when no server answers; `console.warn` by default. The client keeps
   * trying.
   */
  onWarning?: (message: string) => void;
}

/** State of a connection. `waiting` is the pause between two attempts; `closed` is final. */
export type ClientState = "connecting" | "open" | "waiting" | "closed";

/** Callbacks of a {@link Connection}. */
export interface ConnectionEvents {
  /** The server has sent `welcome`: commands can be sent. */
  onOpen(): void;
  /** A frame has arrived, complete and not about the connection itself. */
  onFrame(frame: ServerFrame): void;
  /** The connection is lost; the next attempt follows by itself. */
  onDisconnect(): void;
  /** The connection is closed and will not be made again. */
  onClose(error: ClosedError): void;
}

/**
 * One WebSocket to a server, with reconnect, heartbeat and the joining of parts.
 *
 * It keeps no commands: the {@link ConnectionEvents.onOpen} callback sends what is still
 * unanswered.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #backoff = new Backoff();
  readonly #listeners = new Set<(state: ClientState, reason?: string) => void>();
  #socket: WebSocketLike | undefined;
  #state: ClientState = "connecting";
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  #heartbeatTimer: ReturnType<typeof setTimeout> | undefined;
  /** Pause that the server asked for in `goaway`, in milliseconds. */
  #minimumPause = 0;
  /** Number of attempts so far. An address that arrives for an older attempt is dropped. */
  #attempt = 0;
  /** Failed attempts since the connection was last open. */
  #failures = 0;
  #wasOpen = false;
  #retryAt: number | undefined;
  /** Largest frame that the server accepts, in bytes; it closes the connection for a larger one. */
  #maxFrameBytes = Number.POSITIVE_INFINITY;
  #parts = new PartJoiner();

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#connect();
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Time of the next attempt in milliseconds since 1970, in state `waiting`. */
  get retryAt(): number | undefined {
    return this.#state === "waiting" ? this.#retryAt : undefined;
  }

  /** Calls `listener` at each change of state; returns a function that stops that. */
  onState(listener: (state: ClientState, reason?: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sends a frame if the WebSocket is open; drops it otherwise. */
  send(frame: ClientFrame): void {
    this.sendText(JSON.stringify(frame));
  }

  /** Sends a serialized frame if the WebSocket is open; drops it otherwise. */
  sendText(text: string): void {
    if (this.#socket?.readyState === 1) this.#socket.send(text);
  }

  /** Returns the refusal of a frame that is larger than the server accepts. */
  refusalOf(text: string): RefusedError | undefined {
    // One UTF-16 unit takes at most three bytes in UTF-8.
    if (text.length * 3 <= this.#maxFrameBytes) return undefined;
    const size = new TextEncoder().encode(text).length;
    if (size <= this.#maxFrameBytes) return undefined;
    const reason = `the frame has ${size} bytes; the server accepts at most ${this.#maxFrameBytes}`;
    return new RefusedError({ type: "refused", code: "too_large", reason, retry: false });
  }

  /** Resolves when the send buffer has room, or when the connection is lost. */
  async writable(): Promise<void> {
    // A WebSocket has no event for this, so its buffer is polled.
    while (this.#socket?.readyState === 1 && this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      await new Promise((resolve) => setTimeout(resolve, BUFFER_POLL));
    }
  }

  /** Checks the connection now, or connects now if there is none. */
  wake(): void {
    if (this.#state === "waiting") {
      clearTimeout(this.#reconnectTimer);
      this.#connect();
    } else if (this.#state === "open") {
      clearTimeout(this.#heartbeatTimer);
      this.#ping(PONG_TIMEOUT / 2);
    }
  }

  /** Closes the connection for good; resolves when the WebSocket is closed. */
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
    const WebSocket =
      this.#options.webSocket ?? (globalThis.WebSocket as WebSocketClass | undefined);
    if (!WebSocket) {
      throw new Error(
        "this runtime has no WebSocket: pass one as `webSocket`, for example from the package `ws`",
      );
    }
    const { url } = this.#options;
    const attempt = (this.#attempt += 1);
    if (typeof url === "function") {
      const isCurrent = () => attempt === this.#attempt && this.#state === "connecting";
      Promise.resolve()
        .then(url)
        .then(
          (url) => isCurrent() && this.#dial(WebSocket, String(url)),
          (error: unknown) => {
            if (isCurrent())
              this.#lost(1006, error instanceof Error ? error.message : String(error));
          },
        );
    } else {
      this.#dial(WebSocket, String(url));
    }
    this.#enter("connecting");
    this.#heartbeatTimer = setTimeout(
      () => this.#drop(`the server sent no welcome within ${WELCOME_TIMEOUT / 1000} s`),
      WELCOME_TIMEOUT,
    );
  }

  #dial(WebSocket: WebSocketClass, url: string): void {
    const socket = new WebSocket(url, ["thoughtwire.v1"]);
    this.#socket = socket;
    this.#parts = new PartJoiner();
    socket.onmessage = (message: { data: unknown }) => {
      if (socket === this.#socket) this.#receive(message.data);
    };
    // A failed attempt also ends with `close`.
    socket.onerror = () => {};
    socket.onclose = (event: { code: number; reason: string }) => {
      if (socket === this.#socket) this.#lost(event.code, event.reason);
    };
  }

  #receive(data: unknown): void {
    // A WebSocket still delivers frames while it closes: a late `welcome` must not reopen this.
    if (this.#state === "closed") return;
    const received = parse(data);
    if (this.#state === "open" || received?.type === "welcome") this.#restartHeartbeat();
    if (!received) return;
    let frame: ServerFrame | undefined;
    try {
      frame = this.#parts.take(received);
    } catch (error) {
      // The next connection resumes at the cursors, so nothing is missed.
      return this.#drop(`the server sent parts out of order: ${String(error)}`);
    }
    if (!frame) return;
    switch (frame.type) {
      case "pong":
        return;
      case "welcome":
        this.#maxFrameBytes = frame.limits.frame_bytes ?? Number.POSITIVE_INFINITY;
        this.#backoff.reset();
        this.#failures = 0;
        this.#wasOpen = true;
        this.#enter("open");
        return this.#events.onOpen();
      case "goaway":
        this.#minimumPause = frame.retry_after_ms;
        return;
      default:
        return this.#events.onFrame(frame);
    }
  }

  #lost(code: number, reason: string): void {
    clearTimeout(this.#heartbeatTimer);
    if (this.#state === "closed") return;
    if (FINAL_CODES.includes(code)) {
      const detail = reason ? `${code}: ${reason}` : String(code);
      return this.#end(new ClosedError(`the server closed the connection for good (${detail})`));
    }
    this.#events.onDisconnect();
    const pause = this.#backoff.next(this.#minimumPause);
    this.#minimumPause = 0;
    this.#retryAt = Date.now() + pause;
    this.#warn(reason);
    this.#enter("waiting", reason);
    this.#reconnectTimer = setTimeout(() => this.#connect(), pause);
  }

  /** Warns once per outage, since a program that waits for a server shows nothing by itself. */
  #warn(reason: string): void {
    this.#failures += 1;
    if (this.#failures !== (this.#wasOpen ? WARN_AFTER : 1)) return;
    const { url, onWarning = console.warn } = this.#options;
    const where = typeof url === "function" ? "its address" : String(url).replace(/\?.*/, "");
    const why = reason ? ` (${reason})` : "";
    onWarning(`thoughtwire: no server answers at ${where}${why}; trying again until one does`);
  }

  #end(error: ClosedError): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#heartbeatTimer);
    this.#enter("closed", error.message);
    this.#events.onClose(error);
  }

  #enter(state: ClientState, reason?: string): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state, reason);
  }

  /** Waits for the next frame. Browsers hide the server's pings, so the client sends its own. */
  #restartHeartbeat(): void {
    clearTimeout(this.#heartbeatTimer);
    this.#heartbeatTimer = setTimeout(() => this.#ping(PONG_TIMEOUT), PING_AFTER);
  }

  #ping(timeout: number): void {
    this.send({ type: "ping" });
    const drop = () => this.#drop("the server did not answer a ping");
    this.#heartbeatTimer = setTimeout(drop, timeout);
  }

  /** Gives up a connection that may be dead: its `close` event would come late or never. */
  #drop(reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.#lost(1006, reason);
  }
}

/** Parses a frame; returns `undefined` for anything that is not a JSON object. */
function parse(data: unknown): ServerFrame | undefined {
  try {
    const frame: unknown = JSON.parse(String(data));
    return typeof frame === "object" && frame !== null ? (frame as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}
