"""Chromium as a sender: a page that plays the clip into a track, at the browser's own mercy."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

from bench.live.picture import CLIP_FRAMES, i420, sequence
from bench.live.speech import LiveSettings, hear_sdp, say_result, say_sdp, stopped
from tests.e2e.chromium import Chromium
from tests.e2e.pattern_page import clock_of

SCRIPT = (Path(__file__).parents[1] / "pages" / "send.js").read_text()
START_KBPS = 4000
"""As ours begins with."""


def _serve(clip: bytes) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = clip if self.path == "/clip" else b"<!doctype html><title>sender</title>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "text/html" if body is not clip else "video/raw")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def _run(settings: LiveSettings) -> None:
    pictures = islice(sequence(settings.width, settings.height), CLIP_FRAMES)
    server = _serve(b"".join(i420(picture) for picture in pictures))
    async with Chromium() as browser:
        page = await browser.open(f"http://127.0.0.1:{server.server_port}/", init=[SCRIPT])
        clock = await clock_of(page)
        options = {
            "width": settings.width,
            "height": settings.height,
            "fps": settings.fps,
            "frames": CLIP_FRAMES,
            "clock": clock.offset_ms,
            "bitrate": settings.bitrate,
        }
        say_sdp("offer", await page.evaluate(f"start({json.dumps(options)})"))
        answer = await hear_sdp()
        await page.evaluate(f"finish({json.dumps(answer)}, {START_KBPS})")
        await stopped()
        say_result(
            {"outbound": await page.evaluate("outbound()"), "clock_error_ms": clock.error_ms}
        )
    server.shutdown()


if __name__ == "__main__":
    asyncio.run(_run(LiveSettings.from_arguments()))
