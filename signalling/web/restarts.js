// Asks for an ICE restart at once and again after a while, until it is stopped: the first request,
// or the offer that answers it, may be lost with the network.

const AGAIN_MS = 2000;
const MAX_ASKED = 6; // without success: then a restart does not help

export class Restarts {
  #timer = null;
  #asked = 0;
  #ask;
  #giveUp;

  /** ask: sends one request, or returns false if it cannot be sent now; giveUp: none has helped. */
  constructor({ ask, giveUp }) {
    this.#ask = ask;
    this.#giveUp = giveUp;
  }

  /** Begin to ask. No effect while that goes on. */
  begin() {
    if (this.#timer === null) this.now();
  }

  /** Ask now, and again later. */
  now() {
    clearTimeout(this.#timer);
    if (this.#asked === MAX_ASKED) {
      this.stop();
      this.#giveUp();
      return;
    }
    if (this.#ask()) this.#asked += 1;
    this.#timer = setTimeout(() => this.now(), AGAIN_MS);
  }

  /** Ask no more: something comes by the path. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** A frame was shown: what was asked so far has helped. */
  forget() {
    this.stop();
    this.#asked = 0;
  }
}
