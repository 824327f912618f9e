"""What the messages are made of: names, texts and numbers with their bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import unquote

from msgspec import Meta, Struct

Role = Literal["admin", "host", "moderator", "player", "viewer"]
"""What a member of a room is. None implies another: see :mod:`signalling.rooms.permissions`."""

Token = Annotated[str, Meta(max_length=8192)]
RoomName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9_-]+\Z")]
PeerId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9_-]+\Z")]
MAX_SUBJECT = 256
Subject = Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT)]
"""Who someone is to the issuer of the tokens (``sub``)."""

DisplayName = Annotated[str, Meta(max_length=64)]
Seat = Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9_-]*\Z")]
Region = Annotated[str, Meta(max_length=32, pattern=r"\A[A-Za-z0-9_-]*\Z")]
RequestId = Annotated[str, Meta(max_length=32)]
"""Chosen by the client, said again in the answer. Empty: no answer is wanted but an error."""

Sdp = Annotated[str, Meta(min_length=1, max_length=32 * 1024)]
CandidateLine = Annotated[str, Meta(max_length=1024)]
Mid = Annotated[str, Meta(max_length=16)]
Version = Annotated[int, Meta(ge=1, le=65535)]
Sequence = Annotated[int, Meta(ge=0, lt=2**53)]
"""Numbers the messages of a room, growing; 0 for what is not of a room."""

SessionSecret = Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9_-]*\Z")]
Sentence = Annotated[str, Meta(max_length=200)]
"""For people to read."""

ChatText = Annotated[str, Meta(min_length=1, max_length=500)]
Control = Annotated[str, Meta(pattern=r"\A(?:pad:[1-8]|keyboard|mouse)\Z")]
"""What one member at a time holds: a game pad, the keyboard, the mouse."""

Capability = Annotated[
    str, Meta(pattern=r"\A(?:watch|pad:[1-8]|keyboard|mouse|clipboard|speak|moderate)\Z")
]
"""What a member may do: a :data:`Control`, or what any number may do at once."""

Duration = Annotated[float, Meta(gt=0, le=7 * 24 * 3600)]
"""In seconds."""

TraceParent = Annotated[
    str,
    Meta(
        max_length=55,
        pattern=r"\A(?:[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?\Z",
    ),
]
"""W3C trace context; empty: none."""

Policy = Literal["open", "link", "approval", "followers", "subscribers", "invite"]
"""Who may come in: whoever has a good token; only those whose token or invitation names this room;
whom the host lets in; followers or subscribers of the host; only the invited."""

ControlPolicy = Literal["ask", "free", "turns"]
"""Who gets a control: whom the host gives it; the first player to ask; players in turns."""

Privacy = Literal["public", "unlisted"]
"""Whether the room is in the directory."""


class IceServer(Struct, forbid_unknown_fields=True, frozen=True):
    """A STUN or TURN server as RTCPeerConnection takes it."""

    urls: list[str]
    username: str = ""
    credential: str = ""

    @classmethod
    def parse(cls, text: str) -> IceServer:
        """Read ``stun:HOST[:PORT]`` or ``turn:USER:PASSWORD@HOST[:PORT][?transport=udp]``.

        User and password may be percent-encoded. Raises :class:`ValueError` in words.
        """
        scheme, _, rest = text.partition(":")
        credentials, at, address = rest.rpartition("@")
        username, colon, password = credentials.partition(":")
        if _ICE_ADDRESS.fullmatch(address):
            if scheme in ("stun", "stuns") and not at:
                return cls([text])
            if scheme in ("turn", "turns") and username and colon and password:
                return cls([f"{scheme}:{address}"], unquote(username), unquote(password))
        raise ValueError(
            "an ICE server is stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT?transport=udp"
        )


_ICE_ADDRESS = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?(?:\?transport=\w+)?"
)
