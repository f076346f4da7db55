/** A promise that is settled from outside. Nobody needs to wait for it: its rejection is never unhandled. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let settle: Omit<Deferred<T>, "promise"> | undefined;
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  return { promise: heeded(promise), ...settle! };
}

/**
 * A promise that may be left alone: in Node a rejection that nobody waits for ends the process, and with
 * it every other turn. Who does wait is told all the same.
 */
export function heeded<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
