// How long to wait before the next try: exponential, capped, with jitter, so that a room full of
// viewers does not come back to a restarted server in one instant.

export class Backoff {
  #tries = 0;

  /** firstMs: the first wait; maxMs: the cap; random: a source of numbers in [0, 1). */
  constructor({ firstMs = 500, maxMs = 15000, random = Math.random } = {}) {
    this.firstMs = firstMs;
    this.maxMs = maxMs;
    this.random = random;
  }

  /** Tries since the last reset. */
  get tries() {
    return this.#tries;
  }

  /** The wait before the next try in ms: between half and all of the exponential step. */
  next() {
    const step = Math.min(this.maxMs, this.firstMs * 2 ** this.#tries);
    this.#tries += 1;
    return Math.round(step * (0.5 + 0.5 * this.random()));
  }

  reset() {
    this.#tries = 0;
  }
}
