import type { ClosedError, RefusedError } from "./errors.js";
import type { ServerFrame } from "./wire.js";

/** What shares a client's connection: is told what becomes of it, and hears what is no session's. */
export interface Guest {
  /** The connection stands. */
  opened(): void;
  /** It broke; another one will stand. */
  broke(): void;
  /** There will be none any more. */
  closed(error: ClosedError): void;
  /** Takes a frame, if it is for this guest. */
  heard(frame: ServerFrame): boolean;
}

/** A guest's way out. */
export interface Line {
  /** Writes a frame, if there is a connection; gives the refusal of one that the server would end the connection for. */
  write(wire: string): RefusedError | undefined;
  /** Resolves when what waits to be written is little, or there is no connection to write it to. */
  spacious(): Promise<void>;
  leave(): void;
}
