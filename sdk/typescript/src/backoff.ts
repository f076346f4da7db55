/** The longest pause before the first new attempt, and before any, in milliseconds. */
const FIRST = 250;
const LONGEST = 15_000;

/**
 * Pauses between attempts, with full jitter: any time between nothing and a limit that doubles. Clients
 * that lost one server together do not come back to it together.
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
 */
export class Backoff {
  #attempts = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The next pause in milliseconds; never less than `least`. */
  next(least = 0): number {
    const limit = Math.min(LONGEST, FIRST * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 16);
    return least + this.#random() * limit;
  }

  /** It worked: the next failure begins anew. */
  reset(): void {
    this.#attempts = 0;
  }
}
