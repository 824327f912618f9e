"""``playcast host`` and ``view`` that know two servers over one Redis, the first of which ends."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.invitation_links import WORDS
from peer.signalling_client import SignallingClient, SignallingClientSettings
from peer.view_link import parse_link
from signalling.dev import DevIssuer
from signalling.messages import Promote, Welcome

from ..integrations.served import ended, serving
from ..signalling.redis import server as redis_server
from .host_process import HostProcess
from .view_process import ViewProcess

pytestmark = pytest.mark.e2e

PATTERN = ("--source", "pattern", "--size", "640x360", "--fps", "30", "--bitrate", "2M")
ROOM = "arena"
MANAGE, WATCH = WORDS["manage"], WORDS["watch"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_the_stream_goes_on_through_the_other_server(
    how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room, seats and picture; and what is begun then begins there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    token = DevIssuer.load_or_create().mint("host", ROOM, "host")
    keys = tmp_path / "keys"
    keys.write_text("k1:" + base64.b64encode(bytes(range(32))).decode() + "\n")
    with redis_server.single(tmp_path / "redis") as redis:
        words = ("--dev", "--port", "0", "--redis", redis.url, "--redis-lease", "2")
        words += ("--invitation-keys", str(keys))
        async with (
            serving(tmp_path, *words) as (first, first_page),
            serving(tmp_path, *words) as (second, second_page),
        ):
            urls = [f"ws{page.removeprefix('http')}ws" for page in (first_page, second_page)]
            servers = [word for url in urls for word in ("--signalling", url)]
            reach = ("--room", ROOM, "--bind", "127.0.0.1", "--token", token)
            async with HostProcess(*PATTERN, *servers, *reach) as host:
                to_watch = (await host.words(WATCH)).split()[-1]
                assert to_watch.startswith(f"{first_page}#")
                async with ViewProcess(to_watch, "--signalling", urls[1]) as view:
                    before = await view.report(lambda report: report["frames"] > 0)
                    peer = before["room_state"]["peer"]
                    first.send_signal(how)
                    await first.wait()

                    links = [await host.words(f"{what}: {second_page}") for what in (MANAGE, WATCH)]
                    to_manage, to_watch = (line.split()[-1] for line in links)
                    await make_player(peer, to_manage)
                    after = await view.report(lambda r: r["room_state"]["role"] == "player")
                    assert after["room_state"]["peer"] == peer
                    await view.report(lambda r: r["frames"] >= after["frames"] + 30)
                    counts = [report["frames"] for report in view.reports]
                    assert counts == sorted(counts), "another connection would begin at 0"
                    assert {r["state"] for r in view.reports if r["frames"]} == {"connected"}
                    assert sum("You are in the room" in line for line in view.said) == 1
                    async with ViewProcess(to_watch) as newcomer:
                        await newcomer.report(lambda report: report["frames"] > 0)
                        assert await newcomer.interrupt() == 0
                    assert await view.interrupt() == 0
            assert (await ended(second))[0] == 0


async def make_player(peer: str, link: str) -> None:
    """By one who comes by the link to manage the room."""
    way = parse_link(link)
    settings = SignallingClientSettings(
        url=way.websocket_url, token=way.token, room=way.room, role="viewer"
    )
    async with SignallingClient(settings) as client:
        messages = aiter(client)
        assert isinstance(await anext(messages), Welcome)
        reading = asyncio.ensure_future(drain(messages))
        await client.request(Promote(peer, "player"))
        await client.close()
        await reading


async def drain(messages: AsyncIterator[object]) -> None:
    async for _ in messages:
        pass
