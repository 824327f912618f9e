"""What brings the media up: descriptions and candidates, passed on unread."""

from __future__ import annotations

from .base import RoomMessage
from .fields import CandidateLine, Mid, PeerId, Sdp, Seat, Sentence


class Offer(RoomMessage, tag="offer", frozen=True):
    """An SDP offer (RFC 8829), from the host to a viewer."""

    peer: PeerId
    sdp: Sdp
    seat: Seat = ""
    """A secret between the host and this viewer: see :class:`.Hello`."""


class Answer(RoomMessage, tag="answer", frozen=True):
    """An SDP answer, from a viewer to the host."""

    peer: PeerId
    sdp: Sdp


class Candidate(RoomMessage, tag="candidate", frozen=True):
    """An ICE candidate: ``candidate`` is the value of ``a=candidate``, "" for end-of-candidates."""

    peer: PeerId
    candidate: CandidateLine
    mid: Mid = "0"


class Restart(RoomMessage, tag="restart", frozen=True):
    """A viewer asks the host for an ICE restart (RFC 8445 section 9) of the session that runs."""

    peer: PeerId


class Refused(RoomMessage, tag="refused", frozen=True):
    """The host has no place for this viewer now. It may stay: an offer can still come."""

    peer: PeerId
    message: Sentence


Relayed = Offer | Answer | Candidate | Restart | Refused
"""What clients say to each other. ``peer`` is whom it is for when a client sends it, and who sent
it when the server delivers it."""
