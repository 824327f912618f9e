"""Messages to test with: an example of each that sets every field, and arbitrary ones."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as types

from signalling.messages import (
    Admit,
    Answer,
    Ban,
    BanEntry,
    Bans,
    Bye,
    Candidate,
    Chat,
    ChatMessage,
    ClientMessage,
    Configure,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    Controls,
    ControlState,
    ControlTake,
    Done,
    Error,
    FreshToken,
    Grant,
    Hello,
    IceServer,
    Invite,
    Invited,
    Kick,
    Offer,
    PeerJoined,
    PeerLeft,
    Permission,
    Permissions,
    Ping,
    Pong,
    Promote,
    Refused,
    Restart,
    Resume,
    Revoke,
    RoomSettings,
    ServerMessage,
    Settings,
    Span,
    TokenAccepted,
    TokenExpiring,
    Trace,
    Unban,
    Waiting,
    Welcome,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SDP = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=- "{[\\\r\n'
LINE = "candidate:1 1 udp 2 192.0.2.1 9 typ host"

_SETTINGS = RoomSettings(
    policy="approval",
    locked=True,
    capacity=8,
    privacy="public",
    title="Doom II: Hölle auf Erden",
    steam_app_id=2300,
    control_policy="turns",
    turn_s=60.0,
    pads=2,
    keyboard=False,
    chat=False,
)
_CONTROL = ControlState("pad:1", "anna", 1.7e9, True, ["bob"])
_JOINED = PeerJoined("anna", "player", "Zoë", "0-_aZ", True, True, TRACE, seq=7)
_RELAYED: list[Any] = [
    Offer("anna", SDP, "0-_aZ", seq=1),
    Answer("anna", SDP, seq=2),
    Candidate("anna", LINE, "1", seq=3),
    Restart("anna", seq=4),
    Refused("anna", "The host takes no more viewers.", seq=5),
]

FROM_CLIENT: list[Any] = [
    *_RELAYED,
    Hello(
        "a.b.c",
        "doom",
        "viewer",
        version=3,
        name="Zoë",
        seat="0-_aZ",
        settings=RoomSettings(policy="approval"),
        resume=Resume("anna", "s3cret", 41),
        traceparent=TRACE,
        region="eu-central",
    ),
    FreshToken("a.b.c"),
    Bye(),
    Ping(12.5),
    Pong(12.5),
    Trace([Span("first-frame", 1.7e12, 310.5)], TRACE),
    ControlRequest("pad:1", id="r1"),
    ControlRelease("keyboard", id="r1"),
    ControlGive("mouse", "anna", id="r1"),
    ControlGrant("pad:8", "anna", 120.0, id="r1"),
    ControlDeny("pad:1", "anna", "not now", id="r1"),
    ControlTake("pad:1", id="r1"),
    Grant("anna", "clipboard", 60.0, id="r1"),
    Revoke("anna", "watch", id="r1"),
    Configure(**msgspec.structs.asdict(_SETTINGS), id="r1"),
    Admit("anna", id="r1"),
    Promote("anna", "moderator", id="r1"),
    Kick("anna", "enough", id="r1"),
    Ban("anna", 3600.0, "enough", id="r1"),
    Unban("user_2abc", id="r1"),
    Chat("hello, everyone", id="r1"),
    Invite("player", 600.0, id="r1"),
]
FROM_SERVER: list[Any] = [
    *_RELAYED,
    Waiting("anna", "doom", seq=1),
    Welcome(
        "host",
        "doom",
        "host",
        True,
        ["anna"],
        [IceServer(["stun:192.0.2.1", "turn:192.0.2.1"], "u", "c")],
        "s3cret",
        True,
        False,
        [Permission("watch"), Permission("pad:1", 1.7e9)],
        _SETTINGS,
        [_CONTROL],
        [_JOINED],
        30.0,
        1.7e9,
        seq=6,
    ),
    _JOINED,
    PeerLeft("anna", "viewer", "kicked", seq=8),
    TokenExpiring(19.5),
    TokenAccepted(60.0),
    Permissions("anna", [Permission("watch"), Permission("mouse", 1.7e9)], seq=9),
    Controls([_CONTROL], "granted", "your turn", seq=10),
    Settings(_SETTINGS, 12, seq=11),
    Bans([BanEntry("user_2abc", "Eve", 1.7e9)], seq=12),
    Invited("r1", "invite.k.p.m", 1.7e9, seq=13),
    ChatMessage("anna", "Zoë", "viewer", "hello", 1.7e9, seq=14),
    Done("r1"),
    Ping(12.5),
    Pong(12.5),
    Error("rate-limited", "slower", True, "r1", 2.5),
]

CLIENT_KINDS: tuple[type[Any], ...] = get_args(ClientMessage)
SERVER_KINDS: tuple[type[Any], ...] = get_args(ServerMessage)


def arbitrary(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that a decoder of ``kind`` accepts, over the whole range of each field."""
    return _values(types.type_info(kind))


def _values(info: types.Type) -> st.SearchStrategy[Any]:
    match info:
        case types.StructType(cls=cls, fields=fields):
            required = {f.name: _values(f.type) for f in fields if f.required}
            optional = {f.name: _values(f.type) for f in fields if not f.required}
            return st.fixed_dictionaries(required, optional=optional).map(lambda v: cls(**v))
        case types.UnionType(types=members):
            kept = [m for m in members if not isinstance(m, types.CustomType)]
            return st.one_of(*(_values(m) for m in kept if "Unset" not in type(m).__name__))
        case types.StrType(pattern=str(pattern), max_length=most):
            return st.from_regex(pattern).filter(lambda text: most is None or len(text) <= most)
        case types.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=most)
        case types.IntType(ge=least, le=most, lt=below):
            top = most if most is not None else None if below is None else below - 1
            return st.integers(least, top)
        case types.FloatType(ge=least, gt=above, le=most):
            return st.floats(
                least if least is not None else above,
                most,
                exclude_min=above is not None,
                allow_nan=False,
                allow_infinity=False,
            )
        case types.ListType(item_type=item, max_length=most):
            return st.lists(_values(item), max_size=min(most or 2, 2))
        case types.LiteralType(values=values):
            return st.sampled_from(values)
        case types.BoolType():
            return st.booleans()
        case types.NoneType():
            return st.none()
    raise AssertionError(f"a message has a field of a kind that is not tested: {info}")
