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

/** Fails the turn in which it is thrown. Clients see its message. */
export class FailedError extends Error {
  override readonly name: string = "FailedError";
  /** Code for programs; `agent_failed` by default. */
  readonly code: string | undefined;

  constructor(reason: string, { code, ...options }: ErrorOptions & { code?: string } = {}) {
    super(reason, options);
    this.code = code;
  }
}

/**
 * Nobody knows whether a call took effect: its worker was lost while it ran. Uncaught, it fails the
 * turn with the code `outcome_unknown`.
 */
export class OutcomeUnknown extends FailedError {
  override readonly name = "OutcomeUnknown";

  constructor(tool: string, reason: string) {
    const text = `It is not known whether ${tool} took effect: ${reason}`;
    super(text, { code: "outcome_unknown" });
  }
}

/** A call failed in an earlier run of the turn, or its owner says so. Has the error's text. */
export class CallFailed extends Error {
  override readonly name = "CallFailed";
}
