import type { Refused } from "./wire.js";

/** The server said no. Sending the same again may succeed later if {@link RefusedError.retry} says so. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  /** The stable word, such as `queue_full`. */
  readonly code: string;
  /** Whether the same may succeed later. */
  readonly retry: boolean;

  constructor(refused: Refused) {
    super(refused.reason);
    this.code = refused.code;
    this.retry = refused.retry;
  }
}

/** The client is closed: by its owner, or because the server will not have it. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
}
