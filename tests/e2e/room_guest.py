"""A guest in a room: the messages of a viewer, for receivers that speak no signalling themselves.

It opens the link that the host printed, as the web viewer does: the server is where the link says,
and room and token are in its fragment.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from signalling.messages import (
    SUBPROTOCOL,
    Answer,
    Bye,
    Candidate,
    Hello,
    Offer,
    ServerMessage,
    decode_server,
    encode,
)


class RoomGuest:
    """A viewer's WebSocket, joined when the context is entered; leaving it says bye."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        fragment = parse_qs(parts.fragment)
        self._url = f"ws://{parts.netloc}/ws"
        self._room, self._token = fragment["room"][0], fragment["token"][0]
        self._socket: ClientConnection

    async def __aenter__(self) -> Self:
        self._socket = await connect(self._url, subprotocols=[Subprotocol(SUBPROTOCOL)])
        await self._socket.send(encode(Hello(self._token, self._room, "viewer")))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._socket.send(encode(Bye()))
        await self._socket.close()

    async def offer(self) -> Offer:
        """The host's offer. Host candidates are in it."""
        while True:
            message = await self._next()
            if isinstance(message, Offer):
                return message

    async def answer(self, offer: Offer, sdp: str) -> None:
        """Answer it."""
        await self._socket.send(encode(Answer(offer.peer, sdp)))

    async def candidate(self, offer: Offer, candidate: str) -> None:
        """One of our candidates: the value of ``a=candidate``, "" for the end of them."""
        await self._socket.send(encode(Candidate(offer.peer, candidate)))

    async def _next(self) -> ServerMessage:
        return decode_server(await self._socket.recv())
