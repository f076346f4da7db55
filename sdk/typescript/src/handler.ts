import type { ClosedError, RefusedError } from "./errors.js";
import type { ServerFrame } from "./wire.js";

/** Receiver of a client's frames that belong neither to a command nor to a session. */
export interface FrameHandler {
  /** The connection is open. */
  connected(): void;
  /** The connection is lost; the client will connect again. */
  disconnected(): void;
  /** The client is closed; no connection follows. */
  closed(error: ClosedError): void;
  /** Handles a frame; returns whether it was addressed to this handler. */
  receive(frame: ServerFrame): boolean;
}

/** Access of a registered {@link FrameHandler} to the connection. */
export interface FrameWriter {
  /**
   * Sends a serialized frame if there is a connection. Returns the refusal of a frame that is too
   * large, for which the server would close the connection.
   */
  write(text: string): RefusedError | undefined;
  /** Resolves when the send buffer has room, or when there is no connection. */
  writable(): Promise<void>;
  /** Ends the registration. */
  unregister(): void;
}
