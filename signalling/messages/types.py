"""Which messages there are, and which way they go."""

from __future__ import annotations

from .control import (
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    Controls,
    ControlTake,
    Grant,
    Permissions,
    Revoke,
)
from .errors import Error
from .media import Relayed
from .room import (
    Admit,
    Ban,
    Bans,
    Chat,
    ChatMessage,
    Configure,
    Invite,
    Invited,
    Kick,
    Promote,
    Settings,
    Unban,
)
from .session import (
    Bye,
    Done,
    FreshToken,
    Hello,
    PeerJoined,
    PeerLeft,
    Ping,
    Pong,
    TokenAccepted,
    TokenExpiring,
    Trace,
    Waiting,
    Welcome,
)

RoomRequest = (
    ControlRequest
    | ControlRelease
    | ControlGive
    | ControlGrant
    | ControlDeny
    | ControlTake
    | Grant
    | Revoke
    | Configure
    | Admit
    | Promote
    | Kick
    | Ban
    | Unban
    | Chat
    | Invite
)
"""What the room itself decides and answers."""

ClientMessage = Hello | FreshToken | Bye | Ping | Pong | Trace | Relayed | RoomRequest
ServerMessage = (
    Waiting
    | Welcome
    | PeerJoined
    | PeerLeft
    | TokenExpiring
    | TokenAccepted
    | Relayed
    | Permissions
    | Controls
    | Settings
    | Bans
    | Invited
    | ChatMessage
    | Done
    | Ping
    | Pong
    | Error
)
