"""The rules of a room: :mod:`.room` is the machine."""

from .room import (
    MAY_ADDRESS,
    MAY_SEND,
    TRANSITIONS,
    Close,
    Effect,
    Join,
    Leave,
    Phase,
    Probe,
    Relay,
    Room,
    RoomEvent,
    Send,
    refuse_message,
)

__all__ = [
    "MAY_ADDRESS",
    "MAY_SEND",
    "TRANSITIONS",
    "Close",
    "Effect",
    "Join",
    "Leave",
    "Phase",
    "Probe",
    "Relay",
    "Room",
    "RoomEvent",
    "Send",
    "refuse_message",
]
