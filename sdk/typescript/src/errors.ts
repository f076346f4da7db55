import type { Refused } from "./wire.js";

/** The server refused a command. {@link RefusedError.retry} tells whether to try again later. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  /** Stable code, such as `queue_full`. */
  readonly code: string;
  /** Whether the same command may succeed later. */
  readonly retry: boolean;

  constructor(refused: Refused) {
    super(refused.reason);
    this.code = refused.code;
    this.retry = refused.retry;
  }
}

/** The client is closed: by the program, or by the server for good. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
}

/** The turn has ended: nothing more can be sent in it. */
export class EndedError extends Error {
  override readonly name = "EndedError";
}

/**
 * A call that is made once returned an error. The message is the error's text. The first attempt of
 * a turn and a later one throw the same error.
 */
export class CallFailedError extends Error {
  override readonly name = "CallFailedError";
}

/**
 * A call may or may not have taken effect, and must not run again: the attempt before was lost
 * during it. A turn's function may catch this, and tell its model or its user so.
 */
export class OutcomeUnknown extends Error {
  override readonly name = "OutcomeUnknown";
}

/** Fails the turn in which it is thrown. Clients see its message. */
export class FailedError extends Error {
  override readonly name = "FailedError";
  /** Code for programs; `agent_failed` by default. */
  readonly code: string | undefined;

  constructor(reason: string, { code, ...options }: ErrorOptions & { code?: string } = {}) {
    super(reason, options);
    this.code = code;
  }
}
