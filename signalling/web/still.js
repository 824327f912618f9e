// The last picture, kept while there is no other: between two streams, and behind the words of a
// lost connection. A <video> goes black as soon as its stream ends.

export class Still {
  /** canvas: lies over the video and is hidden until a picture is taken. */
  constructor(canvas) {
    this.canvas = canvas;
  }

  /** Keep what `video` shows now; nothing if it has shown no picture yet. */
  take(video) {
    if (!video.videoWidth) return;
    this.canvas.width = video.videoWidth;
    this.canvas.height = video.videoHeight;
    this.canvas.getContext("2d").drawImage(video, 0, 0);
    this.canvas.hidden = false;
  }

  hide() {
    this.canvas.hidden = true;
  }
}
