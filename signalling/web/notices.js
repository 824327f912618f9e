// What happens in the room, told: read out by screen readers in any case, and shown for a moment
// over the picture where it concerns the person here.

const SHOWN_MS = 6000;
const GATHERED_MS = 400; // what comes together is read out together
const MAX_READ = 3; // of one such lot; a full room must not talk without end

export class Notices {
  #lot = [];
  #reading = null;
  #hiding = null;

  /** root: the document; onShow: called when something is shown. */
  constructor(root, onShow = () => {}) {
    this.shown = root.getElementById("notice");
    this.read = root.getElementById("news");
    this.onShow = onShow;
  }

  /** Tell `text`; `mine`: show it too; `bad`: something was refused. */
  tell(text, { mine = false, bad = false } = {}) {
    this.#lot.push(text);
    this.#reading ??= setTimeout(() => this.#readOut(), GATHERED_MS);
    if (!mine) return;
    this.shown.textContent = text;
    this.shown.classList.toggle("bad", bad);
    this.shown.hidden = false;
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => this.clear(), SHOWN_MS);
    this.onShow();
  }

  /** Show nothing. */
  clear() {
    clearTimeout(this.#hiding);
    this.shown.hidden = true;
  }

  #readOut() {
    const more = this.#lot.length - MAX_READ;
    const lot = this.#lot.slice(-MAX_READ);
    this.read.textContent = [...(more > 0 ? [`${more} more changes.`] : []), ...lot].join(" ");
    this.#lot = [];
    this.#reading = null;
  }
}
