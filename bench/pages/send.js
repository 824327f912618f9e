// Chromium as a sender: plays a clip forth and back into a track, with the code of number and time
// painted over each picture (native/src/pattern_code.h tells the layout), and offers it as H.264.
//
//   start({width, height, fps, frames, clock, bitrate, startKbps})  → the offer, with candidates
//     frames: pictures of the clip (I420, at /clip); clock: added to performance.now(), in ms, it is
//     CLOCK_MONOTONIC
//   finish(sdp)
{
  const COLUMNS = 32;
  const SYNC = 0xb2;
  const BLACK = 16;
  const WHITE = 235;

  const crc8 = (bytes) => {
    let crc = 0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x107) & 0xff : crc << 1;
    }
    return crc;
  };

  const codeOf = (number, microseconds) => {
    const inner = new Uint8Array(10);
    const view = new DataView(inner.buffer);
    view.setUint32(0, number);
    view.setUint16(4, Math.floor(microseconds / 2 ** 32) & 0xffff);
    view.setUint32(6, microseconds % 2 ** 32);
    return Uint8Array.of(SYNC, ...inner, crc8(inner));
  };

  const paint = (luma, width, edge, code) => {
    for (let i = 0; i < code.length * 8; i++) {
      const value = (code[i >> 3] >> (7 - (i & 7))) & 1 ? WHITE : BLACK;
      const left = (i % COLUMNS) * edge;
      const top = Math.floor(i / COLUMNS) * edge;
      for (let y = top; y < top + edge; y++) {
        luma.fill(value, y * width + left, y * width + left + edge);
      }
    }
  };

  // The code's colour is grey.
  const bleach = (picture, width, height, edge) => {
    for (const plane of [width * height, (width * height * 5) / 4]) {
      for (let y = 0; y < (3 * edge) / 2; y++) {
        const row = plane + (y * width) / 2;
        picture.fill(128, row, row + (COLUMNS * edge) / 2);
      }
    }
  };

  const play = (clip, { width, height, fps, frames, clock }) => {
    const generator = new MediaStreamTrackGenerator({ kind: "video" });
    const writer = generator.writable.getWriter();
    const size = (width * height * 3) / 2;
    const edge = Math.floor(width / 40) & ~1;
    const began = performance.now();
    let number = 0;
    let due = 0;
    const draw = () => {
      const now = performance.now();
      const slot = Math.floor(((now - began) * fps) / 1000);
      if (slot >= due) {
        due = slot + 1;
        const turn = number % (2 * frames - 2);
        const index = turn < frames ? turn : 2 * frames - 2 - turn;
        const picture = clip.slice(index * size, (index + 1) * size);
        bleach(picture, width, height, edge);
        const microseconds = Math.round((performance.now() + clock) * 1000);
        paint(picture, width, edge, codeOf(number, microseconds));
        number++;
        const frame = new VideoFrame(picture, {
          format: "I420",
          codedWidth: width,
          codedHeight: height,
          timestamp: microseconds,
        });
        void writer.write(frame).catch(() => {});
      }
      setTimeout(draw, Math.max(0, began + (due * 1000) / fps - performance.now()));
    };
    draw();
    return generator;
  };

  let connection;

  window.start = async (settings) => {
    const clip = new Uint8Array(await (await fetch("/clip")).arrayBuffer());
    const track = play(clip, settings);
    track.contentHint = "motion";
    connection = new RTCPeerConnection({ iceServers: [] });
    const transceiver = connection.addTransceiver(track, {
      direction: "sendonly",
      sendEncodings: [{ maxBitrate: settings.bitrate, maxFramerate: settings.fps }],
    });
    const { codecs } = RTCRtpSender.getCapabilities("video");
    const wanted = codecs.filter(
      ({ mimeType, sdpFmtpLine = "" }) =>
        /rtx|flexfec/i.test(mimeType) ||
        (/h264/i.test(mimeType) && sdpFmtpLine.includes("packetization-mode=1")),
    );
    transceiver.setCodecPreferences(wanted);
    await connection.setLocalDescription(await connection.createOffer());
    if (connection.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        connection.addEventListener("icegatheringstatechange", () => {
          if (connection.iceGatheringState === "complete") resolve();
        });
      });
    }
    return connection.localDescription.sdp;
  };

  window.finish = async (sdp, startKbps) => {
    const lines = sdp.replace(
      /(a=fmtp:\d+ [^\r\n]*packetization-mode=1[^\r\n]*)/g,
      `$1;x-google-start-bitrate=${startKbps}`,
    );
    await connection.setRemoteDescription({ type: "answer", sdp: lines });
    const [sender] = connection.getSenders();
    const parameters = sender.getParameters();
    parameters.degradationPreference = "maintain-framerate";
    await sender.setParameters(parameters);
  };

  window.outbound = async () => {
    for (const report of (await connection.getStats()).values()) {
      if (report.type === "outbound-rtp") return report;
    }
    return {};
  };
}
