"""One trace from ``playcast view`` to its first frame: of the viewer, the server and the host."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from aiohttp import ClientSession

from peer.spans import ROOT_SPAN
from signalling.dev import DevIssuer

from ..integrations.otlp_server import otlp_server
from ..integrations.served import ended, serving
from .host_process import HostProcess
from .view_process import ViewProcess

pytestmark = pytest.mark.e2e

PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")
OF_THE_VIEWER = {
    *("signalling.connect", "signalling.hello", "host.offer", "offer.answer", "ice", "dtls"),
    *("first-frame.receive", "first-frame.decode"),
}
OF_OTHERS = {"signalling.join", "host.prepare", "host.connect"}


async def test_a_trace_runs_from_the_command_to_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    issuer = DevIssuer.load_or_create()
    async with otlp_server() as collector:
        endpoint = {"PLAYCAST_TELEMETRY__ENDPOINT": collector.endpoint}
        async with serving(tmp_path, "--dev", "--port", "0", **endpoint) as (server, page):
            reach = ("--signalling", f"ws{page.removeprefix('http')}ws", "--bind", "127.0.0.1")
            token = issuer.mint("host", "play", "host")
            async with HostProcess(*PATTERN, *reach, "--token", token):
                link = f"{page}#room=play&token={issuer.mint('anna', 'play', 'viewer')}"
                started = time.time()
                async with ViewProcess(link) as view:
                    await view.report(lambda report: report["frames"] > 0)
                    seen = time.time()
                    # The host's own way in has a trace of its own: one "signalling.join".
                    await collector.until(1 + len(OF_THE_VIEWER | OF_OTHERS) + 1)
                    assert await view.interrupt() == 0
                async with ClientSession() as http, http.get(page + "metrics") as answer:
                    metrics = await answer.text()
            assert (await ended(server))[0] == 0
    assert "playcast_first_frame_seconds_count 1.0" in metrics
    (root,) = [span for span in collector.spans if span.name == ROOT_SPAN]
    spans = {span.name: span for span in collector.spans if span.trace == root.trace}
    assert spans.keys() == {ROOT_SPAN} | OF_THE_VIEWER | OF_OTHERS
    assert started - 0.05 <= root.start <= root.end <= seen
    # The interpreter's start and all imports are in it.
    assert spans["signalling.connect"].start - root.start > 0.02
    for name in OF_THE_VIEWER:
        assert spans[name].parent == root.span
        assert root.start <= spans[name].start <= spans[name].end <= root.end + 0.001
    assert spans["first-frame.decode"].end == pytest.approx(root.end, abs=0.001)
