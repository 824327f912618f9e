"""The room: who is in it, who may say what to whom. A state machine without I/O or clock.

One host and any number of others share a room. :meth:`Room.apply` takes one :data:`.RoomEvent` and
returns the :data:`.Effect` list that the caller must carry out, in order, before the next event.
The same events in the same order give the same room and the same effects, wherever they are
applied: servers that share a bus each keep a copy, and each carries out the effects that concern
its own clients.

A member moves so::

                    Join                        Away, a moment longer than its window
    (nobody) ------------------> present <---------> away ------------------> gone
        |                         |  ^        Join with resume        Tick
        | Join, policy approval   |  |
        v             Admit       |  | Leave, Kick, Ban: gone from wherever it is
     waiting ---------------------+--+

What happens to the room is told to those whom :mod:`.permissions` names. A message that may not
pass is answered with an error and changes nothing: a peer that has just left is an ordinary race,
not an offence. An event of a link that is no longer its member's changes nothing either.
"""

from __future__ import annotations

import msgspec

from ..messages import Done, Error, Relayed, RoomRequest, ServerMessage
from . import requests
from .admission import judge
from .effects import Close, Effect, Probe, RoomCard
from .events import Away, Join, Leave, RoomEvent, Say, Tick
from .handover import next_end
from .membership import Membership
from .permissions import MAY_ADDRESS, MAY_SEND, tag_of
from .refusal import Refusal
from .state import Member, RoomState, decode_state, encode_state

COUNT_INTERVAL_S = 1.0
COUNTS_PER_S = 1000
"""The number of viewers is told at most once in :data:`COUNT_INTERVAL_S`, and in a large room so
rarely that it costs no more than this many messages a second."""


class Room:
    """One server's copy of one room."""

    def __init__(self, name: str) -> None:
        self._membership = Membership(RoomState(name=name))
        self._next_due: float | None = None
        self._due_is_known = True

    @property
    def state(self) -> RoomState:
        """All that the room knows. To look at: only :meth:`apply` and :meth:`restore` change it."""
        return self._membership.state

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def host(self) -> Member | None:
        """The host, present or away."""
        return self._membership.roster.host

    @property
    def viewers(self) -> int:
        """How many are in besides the host."""
        return self._membership.roster.viewers

    @property
    def empty(self) -> bool:
        """Nobody is in, is away or waits."""
        return not self.state.members

    @property
    def card(self) -> RoomCard | None:
        """What the room directory is to say."""
        return self.state.card

    def member(self, link: str) -> Member | None:
        """Whose present link this is, or whose last one."""
        return self._membership.roster.links.get(link)

    def was_in(self, link: str, seq: int) -> bool:
        """Whether a :class:`.Broadcast` of this number is for this link: who came in by the same
        event may have come after it.
        """
        member = self._membership.roster.links.get(link)
        return member is not None and not member.waiting and member.joined_seq < seq

    def missed(self, link: str, seq: int) -> list[ServerMessage]:
        """What was sent to the member of ``link`` after number ``seq``, as far as it is kept."""
        member = self.member(link)
        if member is None or member.waiting:
            return []
        return [sent.message for sent in self._membership.delivery.history.missed(member, seq)]

    def snapshot(self) -> bytes:
        """The whole state, for :meth:`restore`."""
        return encode_state(self.state)

    def restore(self, snapshot: bytes) -> None:
        """Become what ``snapshot`` says. Raises :class:`.SnapshotError` and changes nothing."""
        self._membership = Membership(decode_state(snapshot))
        self._due_is_known = False

    # Events --------------------------------------------------------------------------------------

    def apply(self, event: RoomEvent) -> list[Effect]:
        """Take in one event; returns what must be done about it, in order.

        Events that come twice or too late do nothing; a clock that goes backwards stands still.
        """
        state = self._membership.state
        if event.at > state.clock:
            state.clock = event.at
        match event:
            case Say(link=link, message=message):
                member = self._membership.roster.links.get(link)
                if member is None or member.away_since is not None:
                    return []
                if type(message) in requests.REQUESTS:
                    self._answer(member, message)  # type: ignore[arg-type]
                else:
                    return self._relay(member, message)  # type: ignore[arg-type]
            case Join():
                self._join(event)
            case Away(link=link):
                self._away(link)
            case Leave(link=link, reason=reason):
                member = self.member(link)
                if member is not None:
                    self._membership.remove(member, reason)
            case Tick():
                self._tick()
        self._due_is_known = False
        return self._membership.delivery.take()

    def due(self, now: float) -> list[RoomEvent]:
        """What somebody must publish now. Any number of servers may: the first one counts."""
        next_due = self.next_due()
        return [] if next_due is None or next_due > now else [Tick(now)]

    def next_due(self) -> float | None:
        """When to ask :meth:`due` again, in seconds of Unix time; ``None``: after another event."""
        if not self._due_is_known:
            self._next_due = min(self._ends(), default=None)
            self._due_is_known = True
        return self._next_due

    def _ends(self) -> list[float]:
        state, roster = self.state, self._membership.roster
        lost = roster.next_lost
        ends = [] if lost is None else [lost.back_by]
        for member in roster.timed.values():
            ends += [until for until in member.granted.values() if until is not None]
        ends += [ban.until for ban in state.bans.values() if ban.until is not None]
        slot_end = next_end(state.slots.values())
        if slot_end is not None:
            ends.append(slot_end)
        if roster.viewers != state.told_viewers and state.members:
            ends.append(self._count_due())
        return ends

    def _count_due(self) -> float:
        interval = max(COUNT_INTERVAL_S, len(self.state.members) / COUNTS_PER_S)
        return self.state.told_at + interval

    # Joining and leaving -------------------------------------------------------------------------

    def _join(self, join: Join) -> None:
        membership = self._membership
        if join.link in membership.roster.links or join.link in membership.state.members:
            return
        session = membership.find_session(join)
        if session is not None:
            membership.resume(session, join)
        elif join.role == "host":
            self._join_as_host(join)
        else:
            self._join_as_guest(join)

    def _join_as_host(self, join: Join) -> None:
        membership = self._membership
        host = membership.roster.host
        if host is not None and host.away_since is None:
            text = f"room {self.name} already has a host"
            membership.delivery.effect(Close(join.link, Error("room-taken", text, retry=True)))
            # The one that is in may have lost its network without a word, and this be its return.
            membership.delivery.effect(Probe(host.link))
            reason = "room-taken"
            membership.delivery.record("viewer.refused", subject=join.subject, reason=reason)
            return
        if host is not None:
            membership.remove(host, "lost")
        if join.settings is not None:
            policy = membership.state.settings.policy
            membership.begin_with(join.settings)
            if membership.state.settings.policy != policy:
                membership.review(join.subject)
        membership.enter(join)

    def _join_as_guest(self, join: Join) -> None:
        membership = self._membership
        state, roster, host = membership.state, membership.roster, membership.roster.host
        try:
            verdict = judge(
                msgspec.structs.replace(join, role=membership.role_of(join)),
                state.settings,
                state.bans.get(join.subject),
                host_subject=None if host is None else host.subject,
                guests=roster.guests,
                waiting=len(roster.waiting),
                places=roster.places(join.subject),
                now=state.clock,
            )
        except Refusal as refusal:
            membership.delivery.effect(Close(join.link, refusal.error()))
            membership.delivery.record("viewer.refused", subject=join.subject, reason=refusal.code)
        else:
            membership.enter(join, waits=verdict == "waits")

    def _away(self, link: str) -> None:
        member = self.member(link)
        if member is None or member.away_since is not None:
            return
        if member.waiting:  # there is no seat to keep
            self._membership.remove(member, "lost")
        else:
            self._membership.set_away(member)

    # Messages ------------------------------------------------------------------------------------

    def _relay(self, member: Member, message: Relayed) -> list[Effect]:
        membership = self._membership
        target = membership.state.members.get(message.peer)
        if (
            target is not None
            and type(message) in MAY_SEND[member.role]
            and target.role in MAY_ADDRESS[member.role]
            and not target.waiting
            and not member.waiting
        ):
            return membership.delivery.relay(member, target, message)
        membership.delivery.direct(member, self._refusal(member, message, target))
        return membership.delivery.take()

    def _refusal(self, member: Member, message: Relayed, target: Member | None) -> Error:
        if member.waiting:
            return _WAITING.error()
        if type(message) not in MAY_SEND[member.role]:
            return _refuse_message(member.role, message)
        if target is None:
            text = f"there is no peer {message.peer} in this room (any more)"
            return Error("unknown-peer", text)
        if target.role not in MAY_ADDRESS[member.role]:
            return Error("forbidden", f"a {member.role} may not address a {target.role}")
        return Error("not-admitted", f"{target.peer} waits to be let in")

    def _answer(self, member: Member, request: RoomRequest) -> None:
        answer: Done | Error | None
        try:
            if member.waiting:
                raise _WAITING
            if type(request) not in MAY_SEND[member.role]:
                answer = _refuse_message(member.role, request)
            else:
                answer = requests.answer(self._membership, member, request)
        except Refusal as refusal:
            answer = refusal.error(request.id)
        if isinstance(answer, Error) or (answer is not None and answer.id):
            self._membership.delivery.answer(member, answer)

    # Time ----------------------------------------------------------------------------------------

    def _tick(self) -> None:
        membership = self._membership
        state, roster = membership.state, membership.roster
        now = state.clock
        while (lost := roster.next_lost) is not None and lost.back_by <= now:
            membership.remove(lost, "lost")
        membership.hand_over(membership.handover().expire(), "expired")
        for peer in sorted(roster.timed):
            membership.end_grants(roster.timed[peer])
        over = [ban for ban in state.bans.values() if ban.until is not None and ban.until <= now]
        for ban in over:
            del state.bans[ban.subject]
        if over:
            membership.tell_bans()
        if roster.viewers != state.told_viewers and self._count_due() <= now and state.members:
            membership.tell_settings()


_WAITING = Refusal("not-admitted", "you are not in yet: somebody must let you in")


def _refuse_message(role: str, message: Relayed | RoomRequest) -> Error:
    """The answer to a message that :data:`.MAY_SEND` does not let ``role`` send."""
    text = f"a {role} may not send {tag_of(type(message))}"
    return Error("forbidden", text, id=getattr(message, "id", ""))
