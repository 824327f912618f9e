"""The wire messages of signalling, version 1: the one schema of server, host and web viewer.

Each WebSocket text frame is one JSON object whose ``type`` names the message. Unknown types,
unknown fields, wrong types and values out of range are refused (:class:`MessageError`); so are
a key given twice, nesting deeper than :data:`MAX_DEPTH` and frames over :data:`MAX_MESSAGE_BYTES`;
size and depth are checked before the decoder runs.

A session::

    viewer                     server                      host
      | -- hello --------------> | <-------------- hello -- |   (token, room, role)
      | <------------- welcome - | - welcome -------------> |
      |                          | - peer-joined ---------> |
      | <--------------- offer - | <-------------- offer -- |   (host offers)
      | -- answer -------------> | - answer --------------> |
      | <-- candidate ---------> | <---------- candidate -> |   (trickle ICE, RFC 8838)
      | -- restart ------------> | - restart -------------> |   (its path is broken)
      | <--------------- offer - | <-------------- offer -- |   (the same session: ICE restart)
      | <------ token-expiring - | - token-expiring ------> |   (each for its own token)
      | -- token --------------> | <-------------- token -- |
      | <------ token-accepted - | - token-accepted ------> |
      | -- bye ----------------> | - peer-left -----------> |

A host may answer a viewer's joining with ``refused`` instead, and offer later.

A connection ends with its token (close code 4401) unless a fresh one of the same bearer, good for
the same room and role, comes first. Tokens travel in ``hello`` and ``token`` alone, never in a URL.

A viewer whose link to the server breaks (its address has changed, say) joins again under a new
``peer``. The ``seat`` of the host's offer, said again in its ``hello``, tells the host that this is
the viewer whose picture is on. Only the host judges seats; to the server they mean nothing, and
who may come in is decided by the token alone.

``peer`` in a relayed message is the *target* when a client sends it, and the *source* when the
server delivers it.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

PROTOCOL_VERSION = 1
SUBPROTOCOL = "playcast.v1"
"""The WebSocket subprotocol (RFC 6455 section 1.9) that clients offer."""

MAX_MESSAGE_BYTES = 64 * 1024
"""The longest frame that is decoded, in bytes of UTF-8."""

MAX_DEPTH = 8
"""The deepest nesting of JSON objects and arrays that is decoded."""

Role = Literal["host", "viewer"]

Token = Annotated[str, Meta(max_length=8192)]
RoomName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9_-]+\Z")]
PeerId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9_-]+\Z")]
DisplayName = Annotated[str, Meta(max_length=64)]
Seat = Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9_-]*\Z")]
Sdp = Annotated[str, Meta(min_length=1, max_length=32 * 1024)]
CandidateLine = Annotated[str, Meta(max_length=1024)]
Mid = Annotated[str, Meta(max_length=16)]
Version = Annotated[int, Meta(ge=1, le=65535)]


class MessageError(ValueError):
    """A frame that is not a message of this protocol. The text says which field, and why."""


class MessageTooLarge(MessageError):
    """A frame over :data:`MAX_MESSAGE_BYTES`."""


class _Message(Struct, tag_field="type", forbid_unknown_fields=True, frozen=True):
    """Base of all messages."""


# Client to server -------------------------------------------------------------------------------


class Hello(_Message, tag="hello", frozen=True):
    """The first frame of every connection: who I am and which room I want."""

    token: Token
    room: RoomName
    role: Role
    version: Version = PROTOCOL_VERSION
    name: DisplayName = ""
    seat: Seat = ""
    """Of a viewer that comes back: the ``seat`` of the offer that its session began with."""


class FreshToken(_Message, tag="token", frozen=True):
    """A newer token of mine takes the place of the one I came with.

    The answer is :class:`TokenAccepted`; a token that is not good ends the connection.
    """

    token: Token


class Bye(_Message, tag="bye", frozen=True):
    """I leave of my own accord; the server closes with 1000."""


# Both directions (relayed) ----------------------------------------------------------------------


class Offer(_Message, tag="offer", frozen=True):
    """An SDP offer (RFC 8829), from the host to a viewer. Passed through unread."""

    peer: PeerId
    sdp: Sdp
    seat: Seat = ""
    """A secret between the host and this viewer: see :class:`Hello`."""


class Answer(_Message, tag="answer", frozen=True):
    """An SDP answer, from a viewer to the host."""

    peer: PeerId
    sdp: Sdp


class Candidate(_Message, tag="candidate", frozen=True):
    """An ICE candidate: ``candidate`` is the value of ``a=candidate``, "" for end-of-candidates."""

    peer: PeerId
    candidate: CandidateLine
    mid: Mid = "0"


class Restart(_Message, tag="restart", frozen=True):
    """A viewer asks the host for an ICE restart (RFC 8445 section 9) of the session that runs."""

    peer: PeerId


class Refused(_Message, tag="refused", frozen=True):
    """The host has no place for this viewer now. It may stay: an offer can still come.

    ``message`` is a sentence for people.
    """

    peer: PeerId
    message: Annotated[str, Meta(max_length=200)]


class Ping(_Message, tag="ping", frozen=True):
    """Heartbeat. ``at`` is the sender's own clock in milliseconds and is echoed unread."""

    at: float


class Pong(_Message, tag="pong", frozen=True):
    """The answer to :class:`Ping`, with its ``at``."""

    at: float


# Server to client -------------------------------------------------------------------------------


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


class Welcome(_Message, tag="welcome", frozen=True):
    """The hello was accepted. ``peers`` are the others that this client may address."""

    peer: PeerId
    room: RoomName
    role: Role
    host_present: bool
    peers: list[PeerId] = []
    ice_servers: list[IceServer] = []


class PeerJoined(_Message, tag="peer-joined", frozen=True):
    """Someone this client may address has joined (a viewer, to the host; the host, to viewers)."""

    peer: PeerId
    role: Role
    name: str = ""
    seat: Seat = ""
    """Of a viewer, to the host: see :class:`Hello`."""


class PeerLeft(_Message, tag="peer-left", frozen=True):
    """They are gone. ``reason``: ``bye`` (of their own accord) or ``lost`` (the socket dropped)."""

    peer: PeerId
    role: Role
    reason: Literal["bye", "lost"]


class TokenExpiring(_Message, tag="token-expiring", frozen=True):
    """In ``left_s`` seconds the token ends and the connection with it: see :class:`FreshToken`."""

    left_s: float


class TokenAccepted(_Message, tag="token-accepted", frozen=True):
    """The fresh token counts from now on, for ``left_s`` seconds."""

    left_s: float


ErrorCode = Literal[
    "bad-message",
    "bad-token",
    "token-expired",
    "forbidden",
    "room-taken",
    "unknown-peer",
    "version",
    "timeout",
    "too-large",
    "shutting-down",
    "internal",
]


class Error(_Message, tag="error", frozen=True):
    """Something was refused.

    ``message`` is a sentence for people; ``retry`` says if trying again helps.
    """

    code: ErrorCode
    message: str
    retry: bool = False


Relayed = Offer | Answer | Candidate | Restart | Refused
"""What clients say to each other; the server hands it on."""

ClientMessage = Hello | FreshToken | Bye | Relayed | Ping | Pong
ServerMessage = (
    Welcome | PeerJoined | PeerLeft | TokenExpiring | TokenAccepted | Relayed | Ping | Pong | Error
)

CLOSE_CODES: dict[ErrorCode, int] = {
    "bad-message": 4400,
    "bad-token": 4401,
    "token-expired": 4401,
    "forbidden": 4403,
    "unknown-peer": 4404,
    "timeout": 4408,
    "room-taken": 4409,
    "too-large": 4413,
    "version": 4426,
    "internal": 1011,
    "shutting-down": 1012,
}
"""The WebSocket close code of each error when it ends a connection (4000-4999 are ours)."""

_client_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def decode_client(frame: str | bytes) -> ClientMessage:
    """Decode a frame that a client sent. Raises :class:`MessageError`."""
    return _decode(_client_decoder, frame)


def decode_server(frame: str | bytes) -> ServerMessage:
    """Decode a frame that the server sent. Raises :class:`MessageError`."""
    return _decode(_server_decoder, frame)


def encode(message: ClientMessage | ServerMessage) -> str:
    """Encode a message as one JSON text frame."""
    return _encoder.encode(message).decode()


_Message_T = TypeVar("_Message_T")

# A JSON string, or its beginning where the frame ends inside it. Possessive, so a frame of quotes
# and backslashes costs linear time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _decode(decoder: msgspec.json.Decoder[_Message_T], frame: str | bytes) -> _Message_T:
    data = _to_utf8(frame)
    _check_depth(data)
    try:
        message = decoder.decode(data)
        # msgspec keeps the last of two equal keys; another reader may keep the first.
        json.loads(data, object_pairs_hook=_refuse_duplicates, parse_int=str, parse_float=str)
    except MessageError:
        raise
    except UnicodeError as error:
        raise MessageError("the frame is not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise MessageError(_describe(error)) from error
    return message


def _to_utf8(frame: str | bytes) -> bytes:
    if len(frame) <= MAX_MESSAGE_BYTES:
        try:
            data = frame.encode() if isinstance(frame, str) else frame
        except UnicodeEncodeError as error:
            raise MessageError("the frame is not valid Unicode") from error
        if len(data) <= MAX_MESSAGE_BYTES:
            return data
    raise MessageTooLarge(f"the frame is longer than {MAX_MESSAGE_BYTES} bytes")


def _check_depth(data: bytes) -> None:
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for byte in _STRING.sub(b"", data):
        if byte in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise MessageError(f"the frame is nested deeper than {MAX_DEPTH} levels")
        elif byte in b"}]":
            depth -= 1


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise MessageError("an object has the same key twice")


def _describe(error: Exception) -> str:
    """The decoder's words, cut short and printable: they may quote what the other side sent."""
    text = "".join(character if character.isprintable() else "?" for character in str(error)[:200])
    return text or "the frame is not JSON"
