"""Media through TURN: ChannelData from the hub over UDP, and the bridge over TCP."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from native import Source, Stream, StreamSettings
from peer._aiortc import RelayPort
from peer.connection import Connection, ConnectionSettings
from peer.hub import HubSettings, MediaHub
from peer.ice import IceServer, IceSettings
from peer.relay_bridge import RelayBridge
from peer.sdp import VideoOffer

from .turn_server import PASSWORD, USER, TurnServer
from .viewer import Viewer, use_loopback

VIEWER = ("192.0.2.7", 4000)
RTP = b"\x80" + bytes(20)


class FakeRelay:
    """A relay over a stream, without the stream."""

    def __init__(self, hub: MediaHub) -> None:
        self.socket = hub.ports[0]
        self.media: dict[tuple[str, int], object] = {}
        self.sent: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        self.stuck = False

    def send_media(self, data: bytes, address: tuple[str, int]) -> bool:
        self.sent.put_nowait((data, address))
        return not self.stuck


@pytest.fixture
async def hub() -> AsyncIterator[MediaHub]:
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    yield hub
    await hub.close()


async def test_bridge_carries_both_ways_and_counts_what_is_dropped(hub: MediaHub) -> None:
    relay = FakeRelay(hub)
    bridge = await RelayBridge.open(cast(RelayPort, relay), VIEWER)
    hub.native.send(0, bridge.address, RTP)
    assert await asyncio.wait_for(relay.sent.get(), 5) == (RTP, VIEWER)
    assert bridge.dropped == 0
    relay.stuck = True
    hub.native.send(0, bridge.address, RTP)
    await asyncio.wait_for(relay.sent.get(), 5)
    assert bridge.dropped == 1
    # What comes back reaches the hub as media: of nobody, so far.
    dtls = struct.pack("!BHQH", 22, 0xFEFD, 0, 1) + b"x"
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Endpoint:
        dtls_received = staticmethod(received.put_nowait)

    hub.ports[0].learn(bridge.address.sockaddr, cast(Any, Endpoint()))
    relay.media[VIEWER](RTP)  # type: ignore[operator]
    relay.media[VIEWER](dtls)  # type: ignore[operator]
    assert await asyncio.wait_for(received.get(), 5) == dtls
    assert hub.native_stats().dropped_unknown == 1
    bridge.close()
    bridge.close()
    assert relay.media == {}


async def test_bridge_listens_to_the_hub_alone(hub: MediaHub) -> None:
    relay = FakeRelay(hub)
    bridge = await RelayBridge.open(cast(RelayPort, relay), VIEWER)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"let me through", bridge.address.sockaddr)
    hub.native.send(0, bridge.address, RTP)
    assert await asyncio.wait_for(relay.sent.get(), 5) == (RTP, VIEWER)
    assert relay.sent.empty()
    bridge.close()


@pytest.mark.e2e
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_viewers_play_through_turn_alone(
    hub: MediaHub, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loopback(monkeypatch)
    stream = Stream(
        Source.pattern(320, 180),
        StreamSettings(fps=30, bitrate=1_000_000, idr_interval_ms=50),
        hub.native,
    )
    async with TurnServer(tmp_path) as turn:
        server = IceServer(turn.url(transport), USER, PASSWORD)
        connections = [
            Connection(
                hub,
                None,
                ConnectionSettings(
                    video=VideoOffer(320, 180, 30),
                    ice=IceSettings(servers=(server,), relay_only=True),
                    gather_wait=10,
                ),
            )
            for _ in range(2)
        ]
        async with Viewer() as one, Viewer() as two:
            viewers = [one, two]
            for connection, viewer in zip(connections, viewers, strict=True):
                connection.send_stream(stream)
                offer = await connection.create_offer()
                assert "typ relay" in offer
                assert "typ host" not in offer
                await connection.accept_answer(await viewer.answer(offer))
            await asyncio.gather(*(viewer.until_frames(10) for viewer in viewers))
            for connection in connections:
                stats = connection.stats()
                assert stats.relayed
                assert stats.path is not None
                assert (stats.path.port == turn.port) == (transport == "udp")
                await connection.close()
        stream.close()
        await hub.close()
