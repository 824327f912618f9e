"""What the room itself decides: each request of a member, and its answer.

A handler returns what is answered (``None``: the answer comes in another way), or raises
:class:`.Refusal` and has changed nothing. That the sender's role may send such a request at all has
been seen to: :data:`.MAY_SEND`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..messages import (
    Admit,
    Ban,
    BanEntry,
    Chat,
    ChatMessage,
    Configure,
    Control,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    ControlTake,
    Done,
    Duration,
    Error,
    Grant,
    Invite,
    Kick,
    Promote,
    Revoke,
    Role,
    RoomRequest,
    Unban,
)
from . import rulings
from .admission import refuse_if_full
from .effects import MakeInvitation
from .membership import Membership
from .permissions import (
    CAPABILITIES,
    GRANTABLE,
    MAY_ACT_ON,
    MAY_APPOINT,
    MAY_CONFIGURE,
    MAY_STEER,
    PROMOTABLE,
    STAFF,
    UNBANNABLE,
)
from .refusal import Refusal
from .state import ChatLine, Member
from .text import readable

MAX_BANS = 200
CHAT_KEPT = 16
"""How much of the chat is told to who comes in."""


def answer(room: Membership, member: Member, request: RoomRequest) -> Done | Error | None:
    """Carries ``request`` out. Raises :class:`.Refusal`."""
    return REQUESTS[type(request)](room, member, request)


# The room ---------------------------------------------------------------------------------------


def _configure(room: Membership, member: Member, request: Configure) -> Done:
    changes = {
        name: value
        for name in MAY_CONFIGURE["host"]
        if (value := getattr(request, name)) is not msgspec.UNSET
    }
    beyond = sorted(changes.keys() - MAY_CONFIGURE[member.role])
    if beyond:
        raise Refusal("forbidden", f"a {member.role} may not change {', '.join(beyond)}")
    if "title" in changes:
        changes["title"] = readable(changes["title"])
    state = room.state
    state.chosen = tuple(sorted({*state.chosen, *changes}))
    settings = msgspec.structs.replace(state.settings, **changes)
    if settings != state.settings:
        room.delivery.record("room.configured", actor=member, **dict(sorted(changes.items())))
        room.configure(settings, member)
    return Done(request.id)


def _chat(room: Membership, member: Member, request: Chat) -> Done:
    state = room.state
    if not state.settings.chat and member.role not in STAFF:
        raise Refusal("forbidden", "the chat of this room is off")
    text = readable(request.text)
    if not text:
        raise Refusal("bad-message", "there is nothing to read in this")
    message = ChatMessage(member.peer, member.name, member.role, text, state.clock)
    room.delivery.everyone(message)
    state.chat.append(ChatLine(member.who, msgspec.structs.replace(message, seq=state.seq)))
    if len(state.chat) > CHAT_KEPT:
        # Who talks most makes room by what they said themselves.
        mine = [line for line in state.chat if line.who == member.who]
        state.chat.remove(mine[0] if len(mine) > CHAT_KEPT // 2 else state.chat[0])
    room.delivery.record("chat.message", actor=member, length=len(text))
    return Done(request.id)


def _invite(room: Membership, member: Member, request: Invite) -> None:
    _check_appointment(member, request.role)
    room.delivery.record("invite.made", actor=member, role=request.role, for_s=request.for_s)
    room.delivery.effect(MakeInvitation(member.link, request, request.role))


# Its people -------------------------------------------------------------------------------------


def _admit(room: Membership, member: Member, request: Admit) -> Done:
    target = _find(room, request.peer)
    _check_may(member, target, MAY_ACT_ON, "admit")
    if target.waiting:
        if target.role not in STAFF:
            refuse_if_full(room.state.settings, room.roster.guests)
        room.let_in(target, member)
    return Done(request.id)


def _promote(room: Membership, member: Member, request: Promote) -> Done:
    target = _find_in(room, request.peer)
    _check_may(member, target, MAY_ACT_ON, "promote")
    if target.role not in PROMOTABLE:
        raise Refusal("forbidden", f"a {target.role} stays one while it is here")
    _check_appointment(member, request.role)
    if target.role != request.role:
        ruling = rulings.with_role(room.state.rulings.get(target.subject), target, request.role)
        made = [(target, request.role)]
        for other in room.roster.sessions(target):
            role = rulings.role_under(ruling, other.token_role)
            if other is not target and other.role != role:
                _check_may(member, other, MAY_ACT_ON, "promote")
                made.append((other, role))
        rulings.keep(room.state, target, ruling)
        for other, role in made:
            room.delivery.record(
                "viewer.promoted", actor=member, target=other, role=role, was=other.role
            )
            room.set_role(other, role)
    return Done(request.id)


def _kick(room: Membership, member: Member, request: Kick) -> Done:
    target = _find(room, request.peer)
    _check_may(member, target, MAY_ACT_ON, "put out")
    if target.waiting:
        error = Error("not-admitted", readable(request.message) or "you were not let in")
    else:
        error = Error("kicked", readable(request.message) or "you were put out of the room")
        room.delivery.record("viewer.kicked", actor=member, target=target)
    room.put_out(target, error, member)
    return Done(request.id)


def _ban(room: Membership, member: Member, request: Ban) -> Done:
    target = _find(room, request.peer)
    _check_may(member, target, MAY_ACT_ON, "ban")
    if target.role in UNBANNABLE:
        raise Refusal("forbidden", f"no ban keeps a {target.role} out")
    state, subject = room.state, target.subject
    if subject == member.subject:
        raise Refusal("forbidden", "you cannot ban yourself")
    for other in state.members.values():
        # By another of their sessions nobody keeps out whom they may not act on.
        if other.subject == subject and other.role not in UNBANNABLE:
            _check_may(member, other, MAY_ACT_ON, "ban")
    if len(state.bans) >= MAX_BANS and subject not in state.bans:
        raise Refusal("conflict", f"{MAX_BANS} are kept out already: let some come again first")
    until = _until(room, request.for_s)
    state.bans[subject] = BanEntry(subject, target.name, until)
    room.delivery.record("viewer.banned", actor=member, target=target, until=until)
    error = Error("banned", readable(request.message) or "you are kept out of this room")
    everywhere = [
        other
        for other in state.members.values()
        if other.subject == subject and other.role in MAY_ACT_ON[member.role] - UNBANNABLE
    ]
    for other in everywhere:
        room.put_out(other, error, member)
    room.tell_bans()
    return Done(request.id)


def _unban(room: Membership, member: Member, request: Unban) -> Done:
    if room.state.bans.pop(request.subject, None) is not None:
        room.delivery.record("viewer.unbanned", actor=member, subject=request.subject)
        room.tell_bans()
    return Done(request.id)


# Controls ---------------------------------------------------------------------------------------


def _request_control(room: Membership, member: Member, request: ControlRequest) -> Done:
    _check_hosted(room)
    change = room.handover().request(request.control, member.peer)
    if change.slots:
        room.delivery.record("control.requested", actor=member, control=request.control)
    room.hand_over(change, "requested", actor=member)
    return Done(request.id)


def _release_control(room: Membership, member: Member, request: ControlRelease) -> Done:
    change = room.handover().release(request.control, member.peer)
    room.hand_over(change, "released", actor=member)
    return Done(request.id)


def _give_control(room: Membership, member: Member, request: ControlGive) -> Done:
    target = _find_in(room, request.peer)
    if target.role in ("host", "viewer"):
        raise Refusal("forbidden", f"a control can be handed to a player, not to a {target.role}")
    if target.away_since is not None:
        raise Refusal("conflict", f"{target.peer} is away", retry=True)
    change = room.handover().give(request.control, member.peer, target.peer)
    room.hand_over(change, "given", actor=member)
    return Done(request.id)


def _grant_control(room: Membership, member: Member, request: ControlGrant) -> Done:
    _grant_one(room, member, request.control, request.peer, request.for_s)
    return Done(request.id)


def _grant_one(
    room: Membership, member: Member, control: Control, peer: str, for_s: Duration | None
) -> None:
    _check_hosted(room)
    target = _find_in(room, peer)
    _check_may(member, target, MAY_STEER, "give controls to")
    _check_holder(room, member, control)
    change = room.handover().grant(control, target.peer, _until(room, for_s))
    room.hand_over(change, "granted", actor=member)


def _deny_control(room: Membership, member: Member, request: ControlDeny) -> Done:
    target = _find_in(room, request.peer)
    _check_may(member, target, MAY_STEER, "deny controls to")
    change = room.handover().deny(request.control, target.peer)
    room.delivery.record("control.denied", actor=member, target=target, control=request.control)
    room.hand_over(change, "denied", readable(request.message), actor=member)
    return Done(request.id)


def _take_control(room: Membership, member: Member, request: ControlTake) -> Done:
    _check_holder(room, member, request.control)
    change = room.handover().take(request.control)
    room.hand_over(change, "taken", actor=member)
    return Done(request.id)


# Other permissions ------------------------------------------------------------------------------


def _grant(room: Membership, member: Member, request: Grant) -> Done:
    if request.capability in room.state.slots:
        _grant_one(room, member, request.capability, request.peer, request.for_s)
        return Done(request.id)
    target = _find_in(room, request.peer)
    _check_grantable(member, target, request.capability)
    until, state = _until(room, request.for_s), room.state
    ruling = state.rulings.get(target.subject)
    rulings.keep(state, target, rulings.with_grant(ruling, target, request.capability, until))
    for other in room.roster.sessions(target):
        other.revoked = tuple(name for name in other.revoked if name != request.capability)
        if request.capability not in CAPABILITIES[other.role]:
            other.granted = {**other.granted, request.capability: until}
            room.roster.note_times(other)
        room.delivery.record(
            "permission.granted",
            actor=member,
            target=other,
            capability=request.capability,
            until=until,
        )
        room.tell_permissions(other)
    return Done(request.id)


def _revoke(room: Membership, member: Member, request: Revoke) -> Done:
    target = _find_in(room, request.peer)
    slot = room.state.slots.get(request.capability)
    if slot is not None:
        _check_may(member, target, MAY_STEER, "take controls from")
        if slot.holder == target.peer:
            change = room.handover().take(request.capability)
            room.hand_over(change, "taken", actor=member)
        return Done(request.id)
    _check_grantable(member, target, request.capability)
    ruling = room.state.rulings.get(target.subject)
    rulings.keep(room.state, target, rulings.without(ruling, target, request.capability))
    for other in room.roster.sessions(target):
        before = room.capabilities(other)
        other.granted = {
            name: until for name, until in other.granted.items() if name != request.capability
        }
        room.roster.note_times(other)
        if request.capability in CAPABILITIES[other.role]:
            other.revoked = tuple(sorted({*other.revoked, request.capability}))
        if room.capabilities(other) != before:
            room.delivery.record(
                "permission.revoked", actor=member, target=other, capability=request.capability
            )
            room.tell_permissions(other)
    return Done(request.id)


# What many ask ----------------------------------------------------------------------------------


def _find(room: Membership, peer: str) -> Member:
    target = room.state.members.get(peer)
    if target is None:
        raise Refusal("unknown-peer", f"there is no peer {peer} in this room (any more)")
    return target


def _find_in(room: Membership, peer: str) -> Member:
    target = _find(room, peer)
    if target.waiting:
        raise Refusal("not-admitted", f"{peer} waits to be let in")
    return target


def _check_may(
    member: Member, target: Member, table: Mapping[Role, frozenset[Role]], verb: str
) -> None:
    if table is MAY_ACT_ON and target is member:
        raise Refusal("forbidden", f"you cannot {verb} yourself")
    if target.role not in table[member.role]:
        raise Refusal("forbidden", f"a {member.role} may not {verb} a {target.role}")


def _check_appointment(member: Member, role: Role) -> None:
    if role not in MAY_APPOINT[member.role]:
        raise Refusal("forbidden", f"a {member.role} may not make anyone a {role}")


def _check_holder(room: Membership, member: Member, control: Control) -> None:
    """Whether ``member`` may take ``control`` from whoever has it."""
    slot = room.state.slots.get(control)
    if slot is not None and slot.holder is not None:
        _check_may(member, room.state.members[slot.holder], MAY_STEER, "take controls from")


def _check_hosted(room: Membership) -> None:
    if room.roster.host is None:
        raise Refusal("conflict", "there is no host, and so nothing to control", retry=True)


def _check_grantable(member: Member, target: Member, capability: str) -> None:
    _check_may(member, target, MAY_STEER, "change what may be done by")
    if capability == "moderate":
        raise Refusal("forbidden", "moderate comes with the role: promote them")
    if capability not in GRANTABLE:
        raise Refusal("conflict", f"there is no {capability} in this room")


def _until(room: Membership, for_s: Duration | None) -> float | None:
    return None if for_s is None else room.state.clock + for_s


Handler = Callable[[Membership, Member, Any], Done | Error | None]

REQUESTS: Mapping[type[RoomRequest], Handler] = {
    Admit: _admit,
    Ban: _ban,
    Chat: _chat,
    Configure: _configure,
    ControlDeny: _deny_control,
    ControlGive: _give_control,
    ControlGrant: _grant_control,
    ControlRelease: _release_control,
    ControlRequest: _request_control,
    ControlTake: _take_control,
    Grant: _grant,
    Invite: _invite,
    Kick: _kick,
    Promote: _promote,
    Revoke: _revoke,
    Unban: _unban,
}
