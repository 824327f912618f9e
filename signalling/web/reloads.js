// Is the page about to be loaded again? Browsers do not tell on leaving. A script's reload is seen by
// the Navigation API, a person's by the keys for it; a click on the browser's own button by nothing.

export class Reloads {
  reloading = false;

  constructor(window) {
    window.navigation?.addEventListener("navigate", ({ navigationType }) => {
      this.reloading = navigationType === "reload";
    });
    window.addEventListener(
      "keydown",
      ({ key, ctrlKey, metaKey }) => {
        const keys = key === "F5" || ((ctrlKey || metaKey) && key.toLowerCase() === "r");
        if (keys) this.reloading = true;
      },
      { capture: true },
    );
  }
}
