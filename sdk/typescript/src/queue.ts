interface WaitingReader<T> {
  resolve: (result: IteratorResult<T>) => void;
  reject: (error: unknown) => void;
}

/**
 * Queue between a producer and asynchronous readers.
 *
 * It is not bounded by itself: the producer checks {@link Queue.size} and pauses its source.
 */
export class Queue<T> {
  #items: T[] = [];
  #readers: WaitingReader<T>[] = [];
  #end: { error?: unknown } | undefined;

  /** Number of items that nobody has read. */
  get size(): number {
    return this.#items.length;
  }

  /** Adds an item; does nothing after {@link Queue.end}. */
  push(item: T): void {
    if (this.#end) return;
    const reader = this.#readers.shift();
    if (reader) reader.resolve({ done: false, value: item });
    else this.#items.push(item);
  }

  /** Ends the queue, with an error if there is one. Items already in it can still be read. */
  end(error?: unknown): void {
    if (this.#end) return;
    this.#end = error === undefined ? {} : { error };
    for (const { resolve, reject } of this.#readers.splice(0)) {
      if (error === undefined) resolve({ done: true, value: undefined });
      else reject(error);
    }
  }

  /** Returns the next item; waits for it if there is none. */
  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (!this.#end) {
      return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
    }
    if ("error" in this.#end) return Promise.reject(this.#end.error);
    return Promise.resolve({ done: true, value: undefined });
  }
}
