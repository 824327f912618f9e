"""The last messages of a room, for members that come back: bounded by count, size and age."""

from __future__ import annotations

from heapq import merge
from operator import attrgetter

import msgspec

from ..messages import Answer, Candidate, Done, Error, Offer, ServerMessage
from .state import Member, RoomState, Sent

MAX_MESSAGES = 4096
MAX_SIZE = 1024 * 1024  # about bytes

_encoder = msgspec.json.Encoder()
_OVERHEAD = 200  # bytes: what a message without long texts takes, about


class History:
    """Keeps ``state.recent``, and finds what one member missed in time."""

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._for_all: list[Sent] = []
        self._for_one: dict[str, list[Sent]] = {}
        self._index()

    def keep(self, sent: Sent) -> None:
        state = self._state
        recent = state.recent
        recent.append(sent)
        state.recent_size += size_of(sent.message)
        if sent.to is None:
            self._for_all.append(sent)
        else:
            for peer in sent.to:
                mine = self._for_one.get(peer)
                if mine is None:
                    self._for_one[peer] = [sent]
                else:
                    mine.append(sent)
        if (
            len(recent) > MAX_MESSAGES
            or state.recent_size > MAX_SIZE
            or recent[0].at < state.clock - 1.5 * state.window_s
        ):
            self._cut()

    def missed(self, member: Member, seq: int) -> list[Sent]:
        """What came for ``member`` after ``seq``, as far as it is known, in order."""
        seq = max(seq, member.joined_seq)
        peer = member.peer
        for_one = _after(self._for_one.get(peer, []), seq)
        for_all = [sent for sent in _after(self._for_all, seq) if peer not in sent.but]
        return list(merge(for_one, for_all, key=attrgetter("seq")))

    def is_complete(self, member: Member, seq: int) -> bool:
        """Whether :meth:`missed` is all of it."""
        state = self._state
        for_all = state.evicted_seq if state.evicted_seq > member.joined_seq else 0
        return max(for_all, member.evicted_seq) <= seq <= state.seq

    def forget(self) -> None:
        """Forgets everything, and that there was anything."""
        self._state.recent.clear()
        self._state.recent_size = 0
        self._state.evicted_seq = 0
        self._index()

    def _cut(self) -> None:
        """Well below the bounds: so that what a cut costs is shared by many messages."""
        state = self._state
        recent = state.recent
        oldest = state.clock - state.window_s
        gone = max(0, len(recent) - MAX_MESSAGES * 3 // 4)
        size = state.recent_size - sum(size_of(sent.message) for sent in recent[:gone])
        while gone < len(recent) and (size > MAX_SIZE * 3 // 4 or recent[gone].at < oldest):
            size -= size_of(recent[gone].message)
            gone += 1
        for sent in recent[:gone]:
            if sent.at < oldest and type(sent.message) in (Done, Error):
                # Whoever asked cannot say that it has the answer, which shows no number. It has:
                # nobody is away for as long as that.
                continue
            if sent.to is None:
                state.evicted_seq = sent.seq
                continue
            for peer in sent.to:
                member = state.members.get(peer)
                if member is not None:
                    member.evicted_seq = sent.seq
        del recent[:gone]
        state.recent_size = size
        self._index()

    def _index(self) -> None:
        self._for_all = []
        self._for_one = {}
        for sent in self._state.recent:
            if sent.to is None:
                self._for_all.append(sent)
            else:
                for peer in sent.to:
                    self._for_one.setdefault(peer, []).append(sent)


def _after(messages: list[Sent], seq: int) -> list[Sent]:
    """Those with a greater number; ``messages`` are in order, and the last ones are wanted."""
    first = len(messages)
    while first and messages[first - 1].seq > seq:
        first -= 1
    return messages[first:]


def size_of(message: ServerMessage) -> int:
    """About how many bytes a snapshot has for it."""
    kind = type(message)
    if kind is Offer or kind is Answer:
        return _OVERHEAD + len(message.sdp)  # type: ignore[union-attr]
    if kind is Candidate:
        return _OVERHEAD + len(message.candidate)  # type: ignore[union-attr]
    return max(_OVERHEAD, len(_encoder.encode(message)))
