/** Upper bound of the first pause, in milliseconds. */
const FIRST = 250;
/** Upper bound of every pause, in milliseconds. */
const LONGEST = 15_000;

/**
 * Exponential backoff with full jitter: a random pause below a limit that doubles each time.
 * Clients that lost one server at the same time do not come back at the same time.
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
 */
export class Backoff {
  #attempts = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Returns the next pause in milliseconds, at least `least`. */
  next(least = 0): number {
    const limit = Math.min(LONGEST, FIRST * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 16);
    return least + this.#random() * limit;
  }

  /** Starts again with short pauses, after a success. */
  reset(): void {
    this.#attempts = 0;
  }
}
