"""The effects of one event: what is said to whom, numbered and kept for who is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from ..messages import (
    Done,
    Error,
    Relayed,
    Role,
    RoomMessage,
    ServerMessage,
)
from ..records import Record, RecordType
from .effects import Broadcast, Effect, Put, Send
from .history import History
from .permissions import STAFF
from .roster import Roster
from .state import Member, RoomState, Sent

Data = str | int | float | bool | None


class Delivery:
    """Collects effects until :meth:`take`."""

    def __init__(self, state: RoomState, roster: Roster) -> None:
        self.history = History(state)
        self._state = state
        self._roster = roster
        self._effects: list[Effect] = []

    def take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def effect(self, effect: Effect) -> None:
        self._effects.append(effect)

    def relay(self, source: Member, target: Member, message: Relayed) -> list[Effect]:
        """Hands ``message`` on under the name of who said it. For each message of a session, so
        short ways are taken.
        """
        state = self._state
        state.seq = seq = state.seq + 1
        told = msgspec.structs.replace(message, peer=source.peer, seq=seq)
        self.history.keep(Sent(seq, state.clock, told, (target.peer,)))
        return [Send((target.link,), told)] if target.away_since is None else []

    def to(self, members: Iterable[Member], message: RoomMessage) -> None:
        """Says ``message`` to each, now or when they are back."""
        members = tuple(members)
        if members:
            told = self._numbered(message)
            self._keep(told, tuple(member.peer for member in members))
            links = tuple(member.link for member in members if member.away_since is None)
            if links:
                self._effects.append(Send(links, told))

    def everyone(self, message: RoomMessage, but: Iterable[Member] = ()) -> None:
        """Says ``message`` to all who are in, but to these."""
        but = tuple(but)
        told = self._numbered(message)
        self._keep(told, None, tuple(member.peer for member in but))
        links = tuple(member.link for member in but)
        self._effects.append(Broadcast(told, self._state.seq, links))

    def about(
        self, member: Member, roles: frozenset[Role], message: Callable[[bool], RoomMessage]
    ) -> None:
        """Says to all of these roles, but to the member itself, what concerns it. Who waits is the
        staff's business alone.

        ``message`` makes it, given whether it is for the host.
        """
        host = self._roster.host
        if member.waiting:
            roles = roles & STAFF
        if host is not None and host is not member and "host" in roles:
            self.to((host,), message(True))
        if "viewer" in roles:
            but = (member,) if host is None or host is member else (member, host)
            self.everyone(message(False), but)
        else:
            seers = self._roster.of(roles - {"host"})
            self.to([seer for seer in seers if seer is not member], message(False))

    def answer(self, member: Member, answer: Done | Error) -> None:
        """Answers a request. Who asked gets the answer, even if it has to come back for it."""
        if answer.id:
            self._state.seq += 1
            self._keep(answer, (member.peer,))
        self.direct(member, answer)

    def direct(self, member: Member, message: ServerMessage) -> None:
        """Says something that has its number already, or needs none."""
        if member.away_since is None:
            self._effects.append(Send((member.link,), message))

    def record(
        self,
        kind: RecordType,
        *,
        actor: Member | None = None,
        target: Member | None = None,
        subject: str = "",
        **data: Data,
    ) -> None:
        """``subject`` is for who is no member."""
        record = Record(
            type=kind,
            at=self._state.clock,
            room=self._state.name,
            actor="" if actor is None else actor.subject,
            subject=subject if target is None else target.subject,
            peer="" if target is None else target.peer,
            data=data,
            traceparent="" if target is None else target.traceparent,
        )
        self._effects.append(Put(record))

    def _numbered(self, message: RoomMessage) -> ServerMessage:
        self._state.seq += 1
        return msgspec.structs.replace(message, seq=self._state.seq)  # type: ignore[return-value]

    def _keep(
        self, message: ServerMessage, to: tuple[str, ...] | None, but: tuple[str, ...] = ()
    ) -> None:
        self.history.keep(Sent(self._state.seq, self._state.clock, message, to, but))
