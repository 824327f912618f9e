"""Coming, being away, coming back and going; and what each of them tells to whom."""

from __future__ import annotations

import hmac
from typing import Literal

from ..messages import (
    Error,
    PeerJoined,
    PeerLeft,
    Role,
    RoomSettings,
    Settings,
    Waiting,
    Welcome,
)
from .admission import ADMITTING, not_admitted
from .desk import PLAYERS, Desk
from .effects import Announce, Close, Greet
from .events import Join
from .permissions import MAY_ADDRESS, SEEN_BY, STAFF, VISIBLE
from .rulings import abide, role_under
from .state import Member

MAX_WELCOME = 256 * 1024
"""How much of a welcome may be about others, about bytes: further ones are told one by one."""


class Membership(Desk):
    """The people of a room."""

    # Coming --------------------------------------------------------------------------------------

    def enter(self, join: Join, *, waits: bool = False) -> Member:
        """Someone new comes in, or begins to wait."""
        state = self.state
        if not state.members:
            self.delivery.record("room.opened")
        member = Member(
            peer=join.link,
            link=join.link,
            subject=join.subject,
            role=self.role_of(join),
            token_role=join.role,
            name=join.name,
            seat=join.seat,
            marks=tuple(sorted(join.marks)),
            secrets=(join.secret_hash,),
            window_s=join.window_s,
            traceparent=join.traceparent,
            joined_at=state.clock,
            joined_seq=state.seq,
            waiting=waits,
        )
        state.window_s = max(state.window_s, member.window_s)
        if not waits:
            abide(member, state)
        self.roster.add(member)
        if waits:
            self.delivery.direct(member, Waiting(member.peer, state.name))
            self.delivery.record("viewer.waiting", target=member, role=member.role)
            self._tell_presence(member)
        else:
            self._come_in(member)
        return member

    def let_in(self, member: Member, actor: Member) -> None:
        """Someone who waited comes in, and what was decided meanwhile holds of them."""
        role = role_under(self.state.rulings.get(member.subject), member.token_role)
        self.roster.let_in(member, role)
        abide(member, self.state)
        self.roster.note_times(member)
        self.delivery.record("viewer.admitted", actor=actor, target=member, role=member.role)
        self._come_in(member)

    def _come_in(self, member: Member) -> None:
        state = self.state
        member.joined_seq = state.seq
        if member.role == "host":
            self.delivery.record("stream.started", actor=member, target=member)
        else:
            self.delivery.record("viewer.joined", target=member, role=member.role)
        self._brief(member, self._greet(member))
        for line in state.chat:
            self.delivery.direct(member, line.message)
        self._tell_presence(member)
        host = self.roster.host
        if host is not None and host is not member:
            self.delivery.to((host,), self.permissions_of(member))
        self.announce()

    def _greet(
        self, member: Member, *, resumed: bool = False, complete: bool = True
    ) -> list[PeerJoined]:
        """Welcomes the member. Returns whom it must be told besides."""
        state = self.state
        told, untold = self._others(member)
        addressable = MAY_ADDRESS[member.role]
        welcome = Welcome(
            peer=member.peer,
            room=state.name,
            role=member.role,
            host_present=self.roster.host is not None,
            peers=[card.peer for card in told if card.role in addressable and not card.waiting],
            resumed=resumed,
            complete=complete,
            capabilities=self.capabilities(member),
            settings=state.settings,
            controls=[self.control(slot) for slot in state.slots.values()],
            members=told,
            resume_window_s=member.window_s,
            at=state.clock,
            # Of one who comes back, what was missed follows, and counts from its own number.
            seq=0 if resumed else state.seq,
        )
        self.delivery.effect(Greet(member.link, welcome))
        return untold

    def _brief(self, member: Member, untold: list[PeerJoined]) -> None:
        """Tells what a welcome has no place for."""
        for card in untold:
            self.delivery.to((member,), card)
        self.delivery.to((member,), Settings(self.state.settings, self.roster.viewers))
        if member.role == "host":
            for other in self.state.members.values():
                if other is not member and not other.waiting:
                    self.delivery.to((member,), self.permissions_of(other))
        if member.role in STAFF:
            self.delivery.to((member,), self.bans())

    def _others(self, member: Member) -> tuple[list[PeerJoined], list[PeerJoined]]:
        """Whom a member may see: those for its welcome, and those for whom it has no place."""
        others = [other for other in self.roster.of(VISIBLE[member.role]) if other is not member]
        if member.role in STAFF:
            others += self.roster.waiting.values()
        told: list[PeerJoined] = []
        size = 0
        for number, other in enumerate(others):
            card = _card(other, to_host=member.role == "host")
            size += 160 + len(card.peer) + 4 * len(card.name) + len(card.seat)
            if size > MAX_WELCOME:
                rest = others[number:]
                return told, [_card(late, to_host=member.role == "host") for late in rest]
            told.append(card)
        return told, []

    # Being away and coming back ------------------------------------------------------------------

    def set_away(self, member: Member) -> None:
        self.roster.set_away(member, self.state.clock)
        self.delivery.record("viewer.away", target=member, role=member.role)
        self._tell_presence(member)
        self.hand_over(self.handover().settle(), "left")

    def find_session(self, join: Join) -> Member | None:
        """Whose session ``join`` goes on with, if it shows what it takes."""
        if join.resume is None:
            return None
        member = self.state.members.get(join.resume.peer)
        if (
            member is None
            or member.waiting
            or member.subject != join.subject
            or (member.role == "host") != (join.role == "host")
        ):
            return None
        shown = join.resume.secret_hash
        # Every one is compared: how long it takes says nothing.
        known = [hmac.compare_digest(secret, shown) for secret in member.secrets if secret]
        return member if any(known) else None

    def resume(self, member: Member, join: Join) -> None:
        """The member goes on over ``join.link``."""
        assert join.resume is not None
        if member.away_since is None:
            text = "your session goes on over another connection"
            self.delivery.effect(Close(member.link, Error("replaced", text)))
        self.roster.relink(member, join.link)
        member.secrets = (join.secret_hash, join.resume.secret_hash)
        member.window_s = join.window_s
        # A page that was loaded anew has no picture: it says no seat, and its host makes an offer.
        member.seat, member.traceparent = join.seat, join.traceparent
        member.name = join.name or member.name
        self.state.window_s = max(self.state.window_s, member.window_s)
        history, seq = self.delivery.history, join.resume.seq
        # Before anything that this return brings about: that is said to a member who is here.
        missed, complete = history.missed(member, seq), history.is_complete(member, seq)
        untold = self._greet(member, resumed=True, complete=complete)
        for sent in missed:
            self.delivery.direct(member, sent.message)
        if not complete:
            self._brief(member, untold)
        self.delivery.record("viewer.returned", target=member, role=member.role)
        role = member.role
        if member.token_role != join.role:
            member.token_role = join.role
            role = self.role_of(join)
        if role != member.role:
            self.set_role(member, role)
        else:
            self._tell_presence(member)
        self.hand_over(self.handover().settle(), "granted")
        if member.role == "host" and self.state.card is not None:
            self.delivery.effect(Announce(self.state.card))

    # Going ---------------------------------------------------------------------------------------

    def remove(
        self,
        member: Member,
        reason: Literal["bye", "lost", "kicked"],
        actor: Member | None = None,
    ) -> None:
        """The member is gone, with all that it held. ``actor`` is who put it out."""
        state, delivery = self.state, self.delivery
        self.roster.remove(member)
        roles = SEEN_BY[member.role]
        delivery.about(member, roles, lambda _: PeerLeft(member.peer, member.role, reason))
        if member.waiting:
            delivery.record("viewer.refused", actor=actor, target=member, reason=reason)
        elif member.role == "host":
            delivery.record("stream.ended", actor=actor or member, target=member, reason=reason)
            self.hand_over(self.handover().clear(), "left")
        else:
            delivery.record(
                "viewer.left", actor=actor, target=member, role=member.role, reason=reason
            )
            self.hand_over(self.handover().leave(member.peer), "left")
        self.announce()
        if not state.members:
            self._close()

    def _close(self) -> None:
        """The last one is gone, and with them all that was chosen: who comes next opens another
        room. Its numbers go on, so that nobody takes it for the old one.
        """
        state = self.state
        state.settings, state.chosen = RoomSettings(), ()
        state.bans, state.rulings, state.chat = {}, {}, []
        state.told_viewers, state.told_at, state.window_s = 0, 0.0, 0.0
        self.delivery.history.forget()
        self.handover().fit()
        self.delivery.record("room.closed")

    def review(self, host_subject: str) -> None:
        """Puts out who came in before the room had this policy, and is not let in by it."""
        policy = self.state.settings.policy
        if policy == "open":
            return
        for member in tuple(self.state.members.values()):
            known = member.role in STAFF or member.subject == host_subject
            if known or member.waiting or ADMITTING[policy] & set(member.marks):
                continue
            self.put_out(member, not_admitted(policy), None)

    def put_out(self, member: Member, error: Error, actor: Member | None) -> None:
        """The member is put out: told why, its connection ended."""
        self.delivery.effect(Close(member.link, error))
        self.remove(member, "kicked", actor)

    # What they are -------------------------------------------------------------------------------

    def role_of(self, join: Join) -> Role:
        """What ``join`` comes in as: what its token says, as far as nobody here has decided."""
        return role_under(self.state.rulings.get(join.subject), join.role)

    def set_role(self, member: Member, role: Role) -> None:
        """Makes the member something else. Whom it sees from now on, it is told."""
        before = member.role
        self.roster.set_role(member, role)
        seers = SEEN_BY[before] | SEEN_BY[role]
        self.delivery.about(member, seers, lambda to_host: _card(member, to_host=to_host))
        self.delivery.to((member,), _card(member, to_host=False))
        for other in self.roster.of(VISIBLE[role] - VISIBLE[before]):
            if other is not member:
                self.delivery.to((member,), _card(other, to_host=False))
        if role in STAFF and before not in STAFF:
            for other in self.roster.waiting.values():
                self.delivery.to((member,), _card(other, to_host=False))
            self.delivery.to((member,), self.bans())
        self.tell_permissions(member)
        if role in PLAYERS:
            self.hand_over(self.handover().settle(), "granted")
        else:
            self.hand_over(self.handover().demote(member.peer), "taken")

    def _tell_presence(self, member: Member) -> None:
        roles = SEEN_BY[member.role]
        self.delivery.about(member, roles, lambda to_host: _card(member, to_host=to_host))


def _card(member: Member, *, to_host: bool) -> PeerJoined:
    """What others are told of a member: a viewer's seat and trace are the host's alone."""
    return PeerJoined(
        member.peer,
        member.role,
        member.name,
        member.seat if to_host else "",
        member.away_since is not None,
        member.waiting,
        member.traceparent if to_host else "",
    )
