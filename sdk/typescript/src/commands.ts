import type { ClientFrame, HistoryEntry, Policy, Style } from "./wire.js";

/** Options of every command. */
export interface CommandOptions {
  /**
   * Idempotency key of the command, a random one by default. Under the same key a command takes
   * effect once, however often it is sent.
   */
  id?: string;
  /** Stops waiting for the answer. A command that is already sent may still take effect. */
  signal?: AbortSignal;
}

/** Options of an input. */
export interface SendOptions extends CommandOptions {
  /** Treatment of the input while a turn is running; `queue` by default. */
  policy?: Policy;
  /** References to files. */
  attachments?: string[];
}

/** Agent to create. */
export interface NewAgent {
  name: string;
  persona?: string;
  human?: string;
  model?: string;
  style?: Style;
}

/** Session to create. */
export interface NewSession {
  /** The agent's name or id. */
  agent: string;
  title?: string;
  instructions?: string;
  history?: HistoryEntry[];
}

/** Command without the id that the client adds. */
export type Command = ClientFrame extends infer F
  ? F extends { id?: string }
    ? Omit<F, "id">
    : never
  : never;
