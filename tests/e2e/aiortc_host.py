"""A stand-in for the host: plain aiortc, a drawn picture, and the "stats" channel.

It lets the web viewer be tested by itself, with a peer that is not ours: it speaks the protocol of
``signalling/messages.py`` and sends what the host's offer promises, on loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aioice.ice
import av
import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.sdp import candidate_from_sdp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from signalling.messages import (
    SUBPROTOCOL,
    Answer,
    Bye,
    Candidate,
    Hello,
    Offer,
    PeerJoined,
    PeerLeft,
    Role,
    ServerMessage,
    Welcome,
    decode_server,
    encode,
)

STATS: dict[str, Any] = {
    "fps": 60.0,
    "bitrate_bps": 8_000_000,
    "viewers": 1,
    "width": 640,
    "height": 360,
    "codec": "H264",
    "encoder": "x264",
    "drops": {"skipped": 3, "late": 1},
    "stages": {
        "capture": {"p50_ms": 0.3, "p99_ms": 0.6},
        "convert": {"p50_ms": 0.4, "p99_ms": 0.7},
        "encode": {"p50_ms": 3.1, "p99_ms": 5.2},
        "first_packet": {"p50_ms": 1.6, "p99_ms": 2.4},
        "last_packet": {"p50_ms": 4.4, "p99_ms": 6.3},
    },
}

Draw = Callable[[int], "np.ndarray[Any, np.dtype[np.uint8]]"]
"""Makes the picture of a frame number: height × width × 3, RGB."""


def bands(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Moving colour bands, 640 × 360."""
    x = (np.arange(640) + 4 * number) % 640
    row = np.stack([x * 255 // 640, 255 - x * 255 // 640, np.full(640, 96)], axis=-1)
    picture: np.ndarray[Any, np.dtype[np.uint8]] = np.broadcast_to(row, (360, 640, 3)).astype(
        np.uint8
    )
    return picture


class DrawnTrack(VideoStreamTrack):
    """30 frames a second from a :data:`Draw`."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self._draw = draw
        self._number = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(self._draw(self._number), format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        self._number += 1
        return frame


class AiortcHost:
    """The host of one room. Make it with :func:`aiortc_host`."""

    def __init__(
        self,
        socket: ClientConnection,
        draw: Draw | None,
        codec: str,
        rewrite: Callable[[str], str],
        deaf: bool,
    ) -> None:
        self._socket = socket
        self._draw = draw
        self._codec = codec
        self._rewrite = rewrite
        self._deaf = deaf
        self._replaced: list[RTCPeerConnection] = []
        self._roles: dict[str, Role] = {}
        self.keep_peers = False
        """Whether viewers that the server lost keep their connection."""
        self.trickle: Callable[[str], list[str]] = lambda sdp: []
        """The candidates to send after an offer, made from its description."""
        self.peers: dict[str, RTCPeerConnection] = {}
        """The connections by viewer."""
        self.channels: dict[str, RTCDataChannel] = {}
        self.answers: dict[str, str] = {}
        """The last answer of each viewer."""
        self.heard: list[str] = []
        """The candidates that viewers sent."""
        self.answered = asyncio.Event()

    async def run(self) -> None:
        """Serve viewers until the server closes the connection."""
        with contextlib.suppress(ConnectionClosed):
            async for frame in self._socket:
                await self._receive(decode_server(frame))

    async def say(self, text: str) -> None:
        """Send one message on the "stats" channel of each viewer."""
        for channel in self.channels.values():
            channel.send(text)

    async def bye(self) -> None:
        """Leave of one's own accord."""
        await self._socket.send(encode(Bye()))
        await self._socket.wait_closed()

    def drop_signalling(self) -> None:
        """Lose the server without a goodbye."""
        self._socket.transport.abort()

    async def hang_up(self) -> None:
        """Close every connection to viewers, and stay in the room."""
        peers = [*self.peers.values(), *self._replaced]
        self.peers.clear()
        self._replaced.clear()
        self.channels.clear()
        for peer in peers:
            await peer.close()

    async def invite_again(self, viewer: str) -> None:
        """Offer a new connection to a viewer whose old one stands."""
        await self._invite(viewer)

    async def reoffer(self, viewer: str) -> None:
        """Offer again on the connection that stands: a renegotiation."""
        self.answered.clear()
        await self._offer(viewer, self.peers[viewer])

    async def _receive(self, message: ServerMessage) -> None:
        match message:
            case Welcome(peers=viewers):
                for viewer in viewers:
                    await self._invite(viewer)
            case PeerJoined(peer=viewer, role=role, away=False, waiting=False):
                if self._roles.setdefault(viewer, role) == role:
                    await self._invite(viewer)
                self._roles[viewer] = role
            case PeerLeft(peer=viewer) if viewer in self.peers and not self.keep_peers:
                self.channels.pop(viewer, None)
                await self.peers.pop(viewer).close()
            case Answer(peer=viewer, sdp=sdp):
                self.answers[viewer] = sdp
                if self._deaf:
                    return
                await self.peers[viewer].setRemoteDescription(RTCSessionDescription(sdp, "answer"))
                self.answered.set()
            case Candidate(peer=viewer, candidate=value, mid=mid) if (
                viewer in self.peers and not self._deaf
            ):
                self.heard.append(value)
                if not value:
                    await self.peers[viewer].addIceCandidate(None)
                    return
                candidate = candidate_from_sdp(value.removeprefix("candidate:"))
                candidate.sdpMid = mid
                await self.peers[viewer].addIceCandidate(candidate)

    async def _invite(self, viewer: str) -> None:
        if viewer in self.peers:
            self._replaced.append(self.peers[viewer])
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers[viewer] = peer
        transceiver = peer.addTransceiver(
            "video" if self._draw is None else DrawnTrack(self._draw), direction="sendonly"
        )
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in codecs if c.name == self._codec])
        channel = peer.createDataChannel("stats")
        channel.on("open", lambda: channel.send(json.dumps(STATS)))
        self.channels[viewer] = channel
        await self._offer(viewer, peer)

    async def _offer(self, viewer: str, peer: RTCPeerConnection) -> None:
        await peer.setLocalDescription(await peer.createOffer())
        await self._socket.send(encode(Offer(viewer, self._rewrite(peer.localDescription.sdp))))
        for value in self.trickle(peer.localDescription.sdp):
            await self._socket.send(encode(Candidate(viewer, value)))


@contextlib.asynccontextmanager
async def aiortc_host(
    url: str,
    room: str,
    token: str,
    *,
    draw: Draw | None = bands,
    codec: str = "H264",
    rewrite: Callable[[str], str] = str,
    deaf: bool = False,
) -> AsyncIterator[AiortcHost]:
    """A host in ``room`` at the WebSocket ``url``, for as long as the context lasts.

    ``draw``: ``None`` offers a picture and never sends a frame of it. ``rewrite`` is applied to
    each offer that goes out; a ``deaf`` host ignores answers and candidates. Candidates are
    127.0.0.1 alone.
    """
    gather = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    try:
        async with connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)]) as socket:
            host = AiortcHost(socket, draw, codec, rewrite, deaf)
            await socket.send(encode(Hello(token=token, room=room, role="host")))
            task = asyncio.create_task(host.run())
            try:
                yield host
            finally:
                await host.hang_up()
                await socket.close()
                await task
                await host.hang_up()  # on who came meanwhile
    finally:
        aioice.ice.get_host_addresses = gather
