"""How soon does the picture go on when the network is back, or is another one?

Host, router and Chromium are in network namespaces (root is needed). From the moment that the
network works again to the next decoded frame, by one clock, in milliseconds: after five seconds in
which nothing came through and nobody was told; after five without an interface; and with another
address, two seconds after the old one went. `resume.bound_ms`: the same with sockets that are bound
to the old address, from when Chromium itself has noticed the new one: `resume.bound_noticed_ms`
after it worked.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from bench.common.report import Report, parse_options
from tests.e2e.internet_scene import MOBILE_ADDRESS, Scene, playing
from tests.e2e.namespaces import why_not

SILENCE_S = 5.0
BETWEEN_S = 2.0


def main() -> int:
    """Run it. Returns the exit status."""
    options = parse_options("resume", __doc__ or "", runs=3, quick_runs=1)
    settings = {"silence_s": SILENCE_S, "between_s": BETWEEN_S}
    report = Report("resume", options, settings)
    if reason := why_not():
        report.invalid(reason)
        return report.finish()
    for _ in range(options.runs):
        asyncio.run(run_resume(report))
    return report.finish()


async def run_resume(report: Report) -> None:
    """Each case once, with a host and a browser of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with playing(folder) as scene:
            scene.internet.forward(on=False)
            await asyncio.sleep(SILENCE_S)
            scene.internet.forward(on=True)
            report.add("resume.silence_ms", await scene.resumed(scene.now()), "ms")
        async with playing(folder) as scene:
            scene.internet.unplug("wifi")
            await asyncio.sleep(SILENCE_S)
            scene.internet.plug("wifi")
            report.add("resume.interface_ms", await scene.resumed(scene.now()), "ms")
        async with playing(folder) as scene:
            back = await _move(scene)
            report.add("resume.address_ms", await scene.resumed(back), "ms")
        async with playing(folder, bound_sockets=True) as scene:
            back = await _move(scene)
            took = await scene.resumed(back)
            noticed = next(at for at, what in await scene.events(back) if what == MOBILE_ADDRESS)
            report.add("resume.bound_noticed_ms", noticed, "ms")
            report.add("resume.bound_ms", took - noticed, "ms")


async def _move(scene: Scene) -> float:
    scene.internet.unplug("wifi")
    await asyncio.sleep(BETWEEN_S)
    scene.internet.plug("mobile")
    return scene.now()


if __name__ == "__main__":
    sys.exit(main())
