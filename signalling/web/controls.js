// Keys, buttons, full screen, and controls that go away when nobody moves.

const IDLE_MS = 2600;

export class Controls {
  #timer = null;

  /** onStats: called when statistics are to be shown or hidden; onPanel: when a panel is, by name. */
  constructor(root, { onStats, onPanel }) {
    this.body = root.body;
    this.stage = root.getElementById("stage");
    this.video = root.getElementById("video");
    this.help = root.getElementById("help");
    this.full = root.getElementById("full-button");
    this.statsButton = root.getElementById("stats-button");
    this.onStats = onStats;
    this.onPanel = onPanel;

    this.full.addEventListener("click", () => this.toggleFull());
    this.statsButton.addEventListener("click", onStats);
    root.getElementById("help-button").addEventListener("click", () => this.toggleHelp());
    root.getElementById("help-close").addEventListener("click", () => this.help.close());
    this.help.addEventListener("click", (event) => {
      if (event.target === this.help) this.help.close(); // the backdrop
    });
    this.stage.addEventListener("dblclick", (event) => {
      if (!event.target.closest("button, dialog, aside")) this.toggleFull();
    });
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("fullscreenchange", () => this.#drawFull());
    for (const kind of ["pointermove", "pointerdown", "keydown", "focusin"]) {
      root.addEventListener(kind, () => this.wake(), { passive: true });
    }
    this.full.hidden = !root.fullscreenEnabled && !this.video.webkitEnterFullscreen;
    this.wake();
  }

  /** Show the controls, and hide them again after a while. */
  wake() {
    this.body.classList.remove("idle");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.body.classList.add("idle"), IDLE_MS);
  }

  drawStats(shown) {
    this.statsButton.setAttribute("aria-pressed", String(shown));
  }

  toggleHelp() {
    if (this.help.open) this.help.close();
    else this.help.showModal();
  }

  async toggleFull() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (this.stage.requestFullscreen) await this.stage.requestFullscreen({ navigationUI: "hide" });
      else this.video.webkitEnterFullscreen?.();
    } catch (error) {
      console.warn(`playcast: full screen was refused: ${error.message}`);
    }
  }

  #drawFull() {
    const full = document.fullscreenElement !== null;
    this.full.setAttribute("aria-pressed", String(full));
    this.full.querySelector("use").setAttribute("href", full ? "#icon-small" : "#icon-full");
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest("input, select, textarea")) return;
    const act = {
      f: () => this.toggleFull(),
      s: () => this.onStats(),
      p: () => this.onPanel("play"),
      c: () => this.onPanel("chat"),
      m: () => this.onPanel("people"),
      "?": () => this.toggleHelp(),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
