/**
 * What lies between who produces and who reads: a queue that can be waited for.
 *
 * It has no limit of its own; who fills it asks {@link Queue.size} and stops its source in time.
 */
export class Queue<T> {
  #items: T[] = [];
  #waiting: ((result: IteratorResult<T>) => void)[] = [];
  #failed: ((error: unknown) => void)[] = [];
  #end: { error?: unknown } | undefined;

  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    if (this.#end) return;
    const waiting = this.#waiting.shift();
    this.#failed.shift();
    if (waiting) waiting({ done: false, value: item });
    else this.#items.push(item);
  }

  /** Nothing more comes; what is there can still be read. With an error, reading then fails with it. */
  end(error?: unknown): void {
    if (this.#end) return;
    this.#end = error === undefined ? {} : { error };
    const [waiting, failed] = [this.#waiting, this.#failed];
    this.#waiting = [];
    this.#failed = [];
    waiting.forEach((resolve, at) => {
      if (error === undefined) resolve({ done: true, value: undefined });
      else failed[at]?.(error);
    });
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (this.#end) {
      return "error" in this.#end
        ? Promise.reject(this.#end.error)
        : Promise.resolve({ done: true, value: undefined });
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.#failed.push(reject);
    });
  }
}
