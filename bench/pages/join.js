// When the page got its first offer, and when it had the first decoded frame: performance.now() in
// `window.join`. Runs before the page's own scripts and changes nothing for them.
{
  const join = { offer: null, first: null };
  Object.defineProperty(window, "join", { value: join });

  const waitForFrame = async (track) => {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    const { value: frame } = await reader.read();
    join.first ??= performance.now();
    frame?.close();
    await reader.cancel();
  };

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
      super(...options);
      this.addEventListener("track", ({ track }) => {
        if (track.kind === "video") void waitForFrame(track);
      });
    }

    setRemoteDescription(...description) {
      join.offer ??= performance.now();
      return super.setRemoteDescription(...description);
    }
  };
}
