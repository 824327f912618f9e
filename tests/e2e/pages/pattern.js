// Reads the test pattern's code out of every frame that a page decodes.
//
// Runs before the page's own scripts, and changes nothing for them: it looks on as their
// RTCPeerConnection receives a video track, and takes the frames with a reader of its own
// (MediaStreamTrackProcessor), which has a long queue: a page that is slow for a moment still sees
// each frame. The reading end is `window.pattern`:
//
//   frames   [number, time at the host in µs (CLOCK_MONOTONIC), time of arrival here in ms
//            (performance.now)] of each decoded frame, in the order of arrival
//   unread   frames without a valid code
//   tracks   how many video tracks there have been
//
// The code's layout is told in native/src/pattern_code.h.
{
  const COLUMNS = 32;
  const ROWS = 3;
  const BITS = COLUMNS * ROWS;
  const SCALE = 40; // blocks that the picture's width would hold
  const SYNC = 0xb2;
  const THRESHOLD = 126; // the middle of limited-range black (16) and white (235)
  const MAX_SAMPLES = 12; // per block and direction
  const QUEUE = 600; // frames: ten seconds at 60 a second

  const pattern = { frames: [], unread: 0, tracks: 0 };
  Object.defineProperty(window, "pattern", { value: pattern });

  const crc8 = (bytes) => {
    let crc = 0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x107) & 0xff : crc << 1;
    }
    return crc;
  };

  /** The middle of a block against the middle of black and white. */
  const readBit = (luma, offset, stride, index, edge) => {
    const left = (index % COLUMNS) * edge;
    const top = Math.floor(index / COLUMNS) * edge;
    const [x0, x1] = [Math.floor(left + edge / 4), Math.floor(left + (edge * 3) / 4)];
    const [y0, y1] = [Math.floor(top + edge / 4), Math.floor(top + (edge * 3) / 4)];
    const dx = Math.floor((x1 - x0) / MAX_SAMPLES) + 1;
    const dy = Math.floor((y1 - y0) / MAX_SAMPLES) + 1;
    let sum = 0;
    let count = 0;
    for (let y = y0; y < y1; y += dy) {
      for (let x = x0; x < x1; x += dx) {
        sum += luma[offset + y * stride + x];
        count++;
      }
    }
    return sum > count * THRESHOLD ? 1 : 0;
  };

  /** [number, µs] out of a luma plane, or null. */
  const readCode = (luma, { offset, stride }, edge) => {
    const code = new Uint8Array(BITS / 8);
    for (let i = 0; i < BITS; i++) {
      code[i >> 3] |= readBit(luma, offset, stride, i, edge) << (7 - (i & 7));
    }
    if (code[0] !== SYNC || crc8(code.subarray(1, 11)) !== code[11]) return null;
    const view = new DataView(code.buffer);
    return [view.getUint32(1), view.getUint16(5) * 2 ** 32 + view.getUint32(7)];
  };

  const strip = new Uint8Array(8192 * 1024);

  const readFrame = async (frame) => {
    const edge = Math.floor(frame.codedWidth / SCALE / 2) * 2;
    const rect = { x: 0, y: 0, width: edge * COLUMNS, height: edge * ROWS };
    const [luma] = await frame.copyTo(strip, { rect });
    return readCode(strip, luma, edge);
  };

  const readTrack = async (track) => {
    pattern.tracks++;
    const { readable } = new MediaStreamTrackProcessor({ track, maxBufferSize: QUEUE });
    const reader = readable.getReader();
    for (;;) {
      const { done, value: frame } = await reader.read();
      if (done) return;
      const arrived = performance.now();
      const code = await readFrame(frame);
      frame.close();
      if (code) pattern.frames.push([...code, arrived]);
      else pattern.unread++;
    }
  };

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
      super(...options);
      this.addEventListener("track", ({ track }) => {
        if (track.kind === "video") void readTrack(track);
      });
    }
  };
}
