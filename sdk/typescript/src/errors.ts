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

/** The turn has ended: what is said in it is not taken any more. */
export class EndedError extends Error {
  override readonly name = "EndedError";
}

/** Thrown in a turn it ends that turn as failed. Its text is for people, and reaches them. */
export class FailedError extends Error {
  override readonly name = "FailedError";
  /** A word for programs, `agent_failed` if left out. */
  readonly code: string | undefined;

  constructor(reason: string, { code, ...options }: ErrorOptions & { code?: string } = {}) {
    super(reason, options);
    this.code = code;
  }
}
