/** A promise that is settled from outside. Its rejection never counts as unhandled. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let settle: Omit<Deferred<T>, "promise"> | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise: markHandled(promise), ...settle! };
}

/**
 * Marks a promise's rejection as handled, for a promise that the caller need not await. In Node an
 * unhandled rejection ends the process, and with it all other turns. Whoever awaits the promise
 * still gets the error.
 */
export function markHandled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
