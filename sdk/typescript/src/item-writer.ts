import { markHandled } from "./deferred.js";
import type { TurnChannel } from "./turn-channel.js";
import type { StreamKind } from "./wire.js";

/** Sends a complete item. */
export type SendItem = (item: string, text: string) => Promise<unknown>;

/**
 * Writer of one streamed item: a thought, a message, or the arguments of a call.
 *
 * {@link ItemWriter.end} completes the item. An item that is never completed is cut off, with the
 * text so far, when the turn ends.
 */
export class ItemWriter {
  /** Id of the item; for arguments, the call's id. */
  readonly item = crypto.randomUUID() as string;
  readonly #channel: TurnChannel;
  readonly #kind: StreamKind;
  readonly #sendItem: SendItem;
  readonly #continues: string | undefined;
  #text = "";

  /** @internal Created by an `Interface`. */
  constructor(channel: TurnChannel, kind: StreamKind, sendItem: SendItem, continues?: string) {
    this.#channel = channel;
    this.#kind = kind;
    this.#sendItem = sendItem;
    this.#continues = continues;
  }

  /** Text written so far. */
  get text(): string {
    return this.#text;
  }

  /** Sends the next delta; waits while the send buffer is full. */
  write(text: string): Promise<void> {
    if (text === "") return Promise.resolve();
    this.#text += text;
    return this.#channel.delta(this.item, this.#kind, text, this.#continues);
  }

  /** Completes the item; returns its id. A thought or a message without text is not sent. */
  end(): Promise<string> {
    const isEmpty = this.#text === "" && this.#kind !== "tool_args";
    const send = async () => {
      if (!isEmpty) await this.#sendItem(this.item, this.#text);
      return this.item;
    };
    return markHandled(send());
  }
}
