"""What a room should be, told in another way than the room does it: for the model-based tests.

:class:`Truth` is the room as it ought to be; :class:`View` is what one client can know from what
it was sent. Whoever is there must know the truth, as far as it is theirs to know.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from signalling.messages import (
    Bans,
    Chat,
    ChatMessage,
    Controls,
    PeerJoined,
    PeerLeft,
    Permissions,
    RoomSettings,
    Settings,
    Welcome,
)

SEES = {
    "admin": {"admin", "host", "moderator", "player", "viewer"},
    "host": {"admin", "host", "moderator", "player", "viewer"},
    "moderator": {"admin", "host", "moderator", "player", "viewer"},
    "player": {"admin", "host", "moderator", "player"},
    "viewer": {"host", "player"},
}
STAFF = {"admin", "host", "moderator"}
MAY_DO = {
    "admin": {"watch", "speak", "moderate"},
    "host": {"watch", "speak", "clipboard", "moderate"},
    "moderator": {"watch", "speak", "moderate"},
    "player": {"watch", "speak"},
    "viewer": {"watch"},
}
ACTS_ON = {"host": {"moderator", "player", "viewer"}, "moderator": {"player", "viewer"}}
RANKS = ["viewer", "player", "moderator"]
CONTROLS = ["pad:1", "pad:2", "keyboard", "mouse"]
NOTICE_S = 5.0
TURN_S = 60.0
WINDOW_S = 30.0
PLACES = 2


@dataclass
class Someone:
    peer: str
    subject: str
    role: str
    waiting: bool = False
    invited: bool = False
    """Their subject is their invitation's."""
    token_role: str = ""
    gone_at: float | None = None
    """When they are given up: they are away."""
    grants: dict[str, float | None] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)

    @property
    def there(self) -> bool:
        return self.gone_at is None and not self.waiting

    @property
    def who(self) -> str:
        return self.peer if self.invited else self.subject


@dataclass
class Decided:
    """What holds of a subject, whoever comes under it."""

    low: int = 0
    high: int = 2
    grants: dict[str, float | None] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)


@dataclass
class Held:
    holder: str | None = None
    since: float = 0.0
    until: float | None = None
    by_grant: bool = False
    queue: list[str] = field(default_factory=list)


class Truth:
    def __init__(self, now: float) -> None:
        self.now = now
        self.people: dict[str, Someone] = {}
        self.held = {control: Held() for control in CONTROLS}
        self.policy = "open"
        self.locked = False
        self.rule = "ask"
        self.capacity = 0
        self.decided: dict[str, Decided] = {}
        self.bans: dict[str, float | None] = {}
        self.chat: list[str] = []

    @property
    def host(self) -> Someone | None:
        return next((one for one in self.people.values() if one.role == "host"), None)

    # Coming and going

    def verdict(self, role: str, subject: str, invited: bool = False) -> str:
        """in, waits, or the error's code."""
        host = self.host
        if role == "host":
            return "in" if host is None or host.gone_at is not None else "room-taken"
        if host is not None and host.subject == subject:
            return "in"
        if subject in self.bans:
            return "banned"
        if self.made(role, subject) in ("admin", "moderator"):
            return "in"
        if self.locked:
            return "room-locked"
        guests = [one for one in self.people.values() if one.role not in STAFF]
        crowded = not invited and sum(one.subject == subject for one in guests) >= PLACES
        if self.policy != "open" and not invited:
            if self.policy == "invite":
                return "not-admitted"
            return "conflict" if crowded else "waits"
        if self.capacity and crowded:
            return "conflict"
        return "room-full" if self.full else "in"

    @property
    def full(self) -> bool:
        guests = [o for o in self.people.values() if o.role not in STAFF and not o.waiting]
        return 0 < self.capacity <= len(guests)

    def enter(self, peer: str, subject: str, role: str, waits: bool, invited: bool = False) -> None:
        if role == "host" and self.host is not None:
            self.remove(self.host.peer)
        made = self.made(role, subject)
        self.people[peer] = one = Someone(peer, subject, made, waits, invited, role)
        if not waits:
            self.abide(one)

    def admit(self, one: Someone) -> None:
        one.waiting, one.role = False, self.made(one.token_role, one.subject)
        self.newest(one)
        self.abide(one)

    def newest(self, one: Someone) -> None:
        self.people[one.peer] = self.people.pop(one.peer)

    def remove(self, peer: str) -> None:
        one = self.people.pop(peer)
        if one.role == "host" and not one.waiting:
            self.held = {control: Held() for control in CONTROLS}
        for held in self.held.values():
            if peer in held.queue:
                held.queue.remove(peer)
            if held.holder == peer:
                self.empty(held)
        self.settle()
        if not self.people:  # the room is over
            self.__init__(self.now)

    # What is decided of people

    def made(self, role: str, subject: str) -> str:
        """What somebody with a token for ``role`` comes in as."""
        if role not in RANKS or subject not in self.decided:
            return role
        decided = self.decided[subject]
        return RANKS[min(decided.high, max(decided.low, RANKS.index(role)))]

    def abide(self, one: Someone) -> None:
        if one.role in RANKS and one.subject in self.decided:
            decided = self.decided[one.subject]
            one.grants, one.revoked = dict(decided.grants), set(decided.revoked)

    def same(self, one: Someone) -> list[Someone]:
        """The sessions of one user, ``one`` first; who was invited is alone."""
        others = [
            other
            for other in self.people.values()
            if other is not one
            and other.subject == one.subject
            and other.role in RANKS
            and not (one.invited or other.waiting)
        ]
        return [one, *others]

    def promote(self, actor: Someone, one: Someone, role: str) -> str:
        """The answer: ok, or the error's code."""
        may = ACTS_ON.get(actor.role, set())
        if one.waiting and actor.role in STAFF:
            return "not-admitted"
        if actor is one or one.role not in may or role not in may:
            return "forbidden"
        if role == one.role:
            return "ok"
        rank, token, was = (RANKS.index(each) for each in (role, one.token_role, one.role))
        before = self.decided.get(one.subject, Decided())
        decided = Decided(before.low, before.high, before.grants, before.revoked)
        if not one.invited:
            decided.low = rank if rank > token else 0
            decided.high = rank if rank < max(token, was) else 2
        elif rank < token:
            decided.high = min(before.high, rank)
        self.decided[one.subject] = decided
        made = [(one, role)]
        for other in self.same(one)[1:]:
            if (new := self.made(other.token_role, one.subject)) != other.role:
                made.append((other, new))
        if any(other is actor or other.role not in may for other, _ in made):
            self.decided[one.subject] = before
            return "forbidden"
        for other, new in made:
            self.set_role(other, new)
        return "ok"

    def set_role(self, one: Someone, role: str) -> None:
        one.role = role
        self.newest(one)
        if role == "viewer":
            for held in self.held.values():
                if held.holder == one.peer and not held.by_grant:
                    self.empty(held)
        self.settle()

    def renew(self, one: Someone, role: str) -> None:
        """They come back to their session with a token that says ``role``."""
        one.gone_at = None
        if one.token_role != role:
            one.token_role = role
            made = self.made(role, one.subject)
            if made != one.role:
                self.set_role(one, made)
        self.settle()

    def permit(self, one: Someone, what: str, until: float | None, grant: bool) -> None:
        decided = self.decided.setdefault(one.subject, Decided())
        if not grant:
            decided.grants.pop(what, None)
            if what in MAY_DO[one.token_role if one.invited else one.role]:
                decided.revoked.add(what)
        elif not one.invited:
            decided.revoked.discard(what)
            if what not in MAY_DO[one.role]:
                decided.grants[what] = until
        for other in self.same(one):
            by_role = what in MAY_DO[other.role]
            if grant:
                other.revoked.discard(what)
                if not by_role:
                    other.grants[what] = until
            else:
                other.grants.pop(what, None)
                if by_role:
                    other.revoked.add(what)

    # Controls

    @staticmethod
    def empty(held: Held) -> None:
        held.holder, held.until, held.by_grant = None, None, False

    def heir(self, control: str) -> str | None:
        def may(peer: str) -> bool:
            one = self.people[peer]
            if control.startswith("pad") and self.has_pad(one):
                return False
            return one.there and one.role in ("player", "moderator")

        return next(filter(may, self.held[control].queue), None)

    def has_pad(self, one: Someone) -> bool:
        return any(
            held.holder is not None and self.people[held.holder].who == one.who
            for name, held in self.held.items()
            if name.startswith("pad")
        )

    def request(self, one: Someone, control: str) -> str:
        """The answer: ok, or the error's code."""
        held = self.held[control]
        if self.host is None:
            return "conflict"
        if one.peer == held.holder or one.peer in held.queue:
            return "ok"
        if self.rule != "ask":
            if one.role == "viewer":
                return "forbidden"
            if control.startswith("pad") and self.has_pad(one):
                return "conflict"
        if one.who in [self.people[peer].who for peer in held.queue]:
            return "conflict"
        held.queue.append(one.peer)
        self.settle()
        return "ok"

    def settle(self) -> None:
        if self.rule != "ask":
            for control, held in self.held.items():
                if held.holder is None and (heir := self.heir(control)) is not None:
                    held.holder, held.since = heir, self.now
                    held.queue.remove(heir)
                    for name, other in self.held.items():
                        if control.startswith("pad") and name.startswith("pad"):
                            who = self.people[heir].who
                            other.queue = [p for p in other.queue if self.people[p].who != who]
        for control, held in self.held.items():
            if held.by_grant:
                continue
            if self.rule != "turns" or held.holder is None or self.heir(control) is None:
                held.until = None
            elif held.until is None:
                held.until = max(held.since + TURN_S, self.now + NOTICE_S)

    def grant(self, control: str, peer: str, until: float | None) -> None:
        held = self.held[control]
        if held.holder != peer:
            held.since = self.now
        held.holder, held.until, held.by_grant = peer, until, True
        held.queue = [other for other in held.queue if other != peer]
        self.settle()

    # Time

    def ends(self) -> list[float]:
        ends = [one.gone_at for one in self.people.values() if one.gone_at is not None]
        ends += [held.until for held in self.held.values() if held.until is not None]
        ends += [until for until in self.bans.values() if until is not None]
        for one in self.people.values():
            ends += [until for until in one.grants.values() if until is not None]
        for decided in self.decided.values():
            ends += [until for until in decided.grants.values() if until is not None]
        return ends

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (ends := [at for at in self.ends() if at <= end]) and self.end_at(min(ends)):
            pass
        self.now = end

    def end_at(self, now: float) -> bool:
        self.now = max(self.now, now)
        gone = [one for one in self.people.values() if one.gone_at is not None]
        for one in sorted(gone, key=lambda one: (one.gone_at, one.peer)):
            if one.gone_at <= self.now:
                self.remove(one.peer)
        for held in self.held.values():
            if held.until is not None and held.until <= self.now:
                self.empty(held)
        self.settle()
        for one in [*self.people.values(), *self.decided.values()]:
            one.grants = {
                what: until
                for what, until in one.grants.items()
                if until is None or until > self.now
            }
        self.bans = {
            subject: until
            for subject, until in self.bans.items()
            if until is None or until > self.now
        }
        return True

    # What is to be known

    def may_do(self, one: Someone) -> dict[str, float | None]:
        may = {what: None for what in MAY_DO[one.role] if what not in one.revoked}
        may = one.grants | may
        may |= {name: held.until for name, held in self.held.items() if held.holder == one.peer}
        return may

    def members_for(self, one: Someone) -> dict[str, tuple[str, bool, bool]]:
        return {
            other.peer: (other.role, other.gone_at is not None, other.waiting)
            for other in self.people.values()
            if other is not one
            and (one.role in STAFF if other.waiting else other.role in SEES[one.role])
        }

    def controls(self) -> dict[str, tuple[str | None, float | None, list[str]]]:
        return {name: (held.holder, held.until, held.queue) for name, held in self.held.items()}


class View:
    """What a client knows."""

    def __init__(self) -> None:
        self.peer = ""
        self.role = ""
        self.seq = 0
        self.members: dict[str, tuple[str, bool, bool]] = {}
        self.controls: dict[str, tuple[str | None, float | None, list[str]]] = {}
        self.may_do: dict[str, dict[str, float | None]] = {}
        self.settings = RoomSettings()
        self.viewers: int | None = None
        self.bans: set[str] = set()
        self.chat: list[str] = []

    def take_in(self, message: object) -> None:
        seq = getattr(message, "seq", 0)
        self.seq = max(self.seq, seq)
        match message:
            case Welcome():
                self._begin(message)
            case PeerJoined():
                self._seen(message)
            case PeerLeft():
                self.members.pop(message.peer, None)
                self.may_do.pop(message.peer, None)
            case Controls():
                for state in message.controls:
                    self.controls[state.control] = (state.holder, state.until, state.queue)
                self._fit()
            case Permissions():
                self.may_do[message.peer] = {
                    permission.capability: permission.until for permission in message.capabilities
                }
            case Settings():
                self.settings, self.viewers = message.settings, message.viewers
                self._fit()
            case Bans():
                self.bans = {ban.subject for ban in message.bans}
            case ChatMessage():
                self.chat.append(message.text)
            case Chat():
                raise AssertionError(message)

    def _begin(self, welcome: Welcome) -> None:
        if not (welcome.resumed and welcome.complete):
            self.__init__()
        self.peer, self.role = welcome.peer, welcome.role
        self.seq = max(self.seq, welcome.seq)
        self.members = {}
        for card in welcome.members:
            self._seen(card)
        self.controls = {
            state.control: (state.holder, state.until, state.queue) for state in welcome.controls
        }
        self.may_do[welcome.peer] = {
            permission.capability: permission.until for permission in welcome.capabilities
        }
        self.settings = welcome.settings

    def _fit(self) -> None:
        """The settings say which controls there are."""
        pads = {f"pad:{number + 1}" for number in range(self.settings.pads)}
        self.controls = {
            name: state
            for name, state in self.controls.items()
            if (name in pads if name.startswith("pad") else self.settings.keyboard)
        }

    def _seen(self, card: PeerJoined) -> None:
        if card.peer == self.peer:
            self.role = card.role
            if card.role not in STAFF:
                self.bans = set()
            # Who is no longer shown to this role is forgotten.
            self.members = {
                peer: member
                for peer, member in self.members.items()
                if (self.role in STAFF if member[2] else member[0] in SEES[self.role])
            }
        elif card.waiting or card.role in SEES[self.role]:
            self.members[card.peer] = (card.role, card.away, card.waiting)
        else:
            self.members.pop(card.peer, None)
