"""The rules of a room: :mod:`.room` is the machine, :mod:`.permissions` its tables.

Below it :mod:`.membership` (coming and going), :mod:`.requests` (what members ask of the room),
:mod:`.desk` (what both have to do with), :mod:`.admission` and :mod:`.handover` (rules alone),
:mod:`.delivery` and :mod:`.history` (what is said, and kept for who is away), and :mod:`.state`,
which is all of it as data.
"""

from .effects import (
    Announce,
    Broadcast,
    Close,
    Effect,
    Greet,
    MakeInvitation,
    Probe,
    Put,
    RoomCard,
    Send,
)
from .events import Away, Join, Leave, Mark, Resume, RoomEvent, Say, Tick
from .permissions import MAY_ADDRESS, MAY_SEND, STAFF, VISIBLE
from .room import Room
from .state import Member, RoomState, SnapshotError

__all__ = [
    "MAY_ADDRESS",
    "MAY_SEND",
    "STAFF",
    "VISIBLE",
    "Announce",
    "Away",
    "Broadcast",
    "Close",
    "Effect",
    "Greet",
    "Join",
    "Leave",
    "MakeInvitation",
    "Mark",
    "Member",
    "Probe",
    "Put",
    "Resume",
    "Room",
    "RoomCard",
    "RoomEvent",
    "RoomState",
    "Say",
    "Send",
    "SnapshotError",
    "Tick",
]
