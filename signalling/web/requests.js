// What the page has asked the room for and has no answer to yet.
//
// A request outlives the link that it was sent over. When the seat goes on over another link, the
// answers that were missed come first; what has none by then never reached the room, which hears
// nobody over a link that they have given up: it is sent again, and done once.

/** Why a request was not done: the server's code and sentence; "lost": whether it was is not known. */
export class RequestError extends Error {
  constructor({ code, message, retry_after_s: retryAfterS = 0 }) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

export class Requests {
  #open = new Map(); // by id: {message, sent, resolve, reject}
  #lastId = 0;
  #send;

  /** send: sends a message, and tells if there was a link to carry it. */
  constructor(send) {
    this.#send = send;
  }

  /** Ask for something, `now` or when send() is called. A promise of the answer, or a RequestError. */
  ask(message, now) {
    this.#lastId += 1;
    const id = String(this.#lastId);
    return new Promise((resolve, reject) => {
      const request = { message: { ...message, id }, sent: false, resolve, reject };
      this.#open.set(id, request);
      if (now) this.#sendOne(request);
    });
  }

  /** An answer: "done", "error", or what the request says. */
  answer(message) {
    const request = this.#open.get(message.id);
    if (!request) return;
    this.#open.delete(message.id);
    if (message.type === "error") request.reject(new RequestError(message));
    else request.resolve(message);
  }

  /** The ids of what has no answer. */
  get open() {
    return [...this.#open.keys()];
  }

  /** Send these, as far as they still have no answer. */
  send(ids) {
    for (const id of ids) {
      if (this.#open.has(id)) this.#sendOne(this.#open.get(id));
    }
  }

  /** Fail all, or only what was sent: whether it was done will not be known. */
  giveUp({ onlySent = false } = {}) {
    const message = "The connection was lost. Look whether it was done, and try again.";
    for (const [id, { sent }] of this.#open) {
      if (sent || !onlySent) this.answer({ type: "error", id, code: "lost", message });
    }
  }

  #sendOne(request) {
    request.sent = this.#send(request.message) || request.sent;
  }
}
