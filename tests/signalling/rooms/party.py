"""A room and those who are in it: applies events, and hands each effect to whom it is for."""

from __future__ import annotations

from hashlib import sha256

from signalling.messages import Error, ServerMessage, Welcome
from signalling.records import Record
from signalling.rooms import (
    Announce,
    Away,
    Broadcast,
    Close,
    Effect,
    Greet,
    Join,
    Leave,
    MakeInvitation,
    Probe,
    Put,
    Resume,
    Room,
    RoomCard,
    RoomEvent,
    Say,
    Send,
    Tick,
)


def hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


class Person:
    """A client over one link at a time."""

    def __init__(self, party: Party, name: str, role: str, subject: str) -> None:
        self.party = party
        self.name = name
        self.role = role
        self.subject = subject
        self.link = name
        self.links = 1
        self.secret = f"secret of {name}"
        self.seq = 0
        self.peer = ""
        self.inbox: list[ServerMessage] = []
        self.welcomes: list[Welcome] = []
        self.invitations: list[tuple[object, str]] = []
        self.probed = 0
        self.error: Error | None = None
        """What this person's connection ended with."""

    def take(self, *kinds: type) -> list[ServerMessage]:
        """What came since the last time; of these kinds, where some are named."""
        taken = [message for message in self.inbox if not kinds or isinstance(message, kinds)]
        self.inbox = []
        return taken

    def say(self, message) -> None:
        self.party.apply(Say(self.link, self.party.at, message))

    def ask(self, request):
        """Says it and takes the answer."""
        self.take()
        self.say(request)
        for message in self.inbox:
            if getattr(message, "id", None) == request.id and not hasattr(message, "seq"):
                return message
        return None

    def drop(self) -> None:
        """The connection is lost."""
        self.party.clients.pop(self.link, None)
        self.party.apply(Away(self.link, self.party.at))

    def leave(self) -> None:
        self.party.clients.pop(self.link, None)
        self.party.apply(Leave(self.link, self.party.at, "bye"))

    def come_back(self, *, secret: str | None = None, seq: int | None = None, **changes) -> None:
        """Another connection, which shows the session's secret."""
        resume = Resume(
            self.peer,
            hashed(self.secret if secret is None else secret),
            self.seq if seq is None else seq,
        )
        self.links += 1
        self.link = f"{self.name}-{self.links}"
        self.secret = f"secret of {self.link}"
        self.enter(resume=resume, **changes)

    def enter(self, **changes) -> None:
        self.error = None
        self.party.clients[self.link] = self
        options = {"subject": self.subject, "role": self.role, "name": self.name.title(), **changes}
        self.party.apply(
            Join(
                link=self.link,
                at=self.party.at,
                secret_hash=hashed(self.secret),
                **options,
            )
        )

    # What the switchboard does to a connection

    def deliver(self, message: ServerMessage) -> None:
        self.inbox.append(message)
        self.seq = max(self.seq, getattr(message, "seq", 0))
        if isinstance(message, Welcome):
            self.welcomes.append(message)
        if not self.peer and hasattr(message, "peer"):
            self.peer = message.peer

    def close(self, error: Error) -> None:
        self.error = error


class Party:
    def __init__(self, name: str = "doom") -> None:
        self.room = Room(name)
        self.at = 1000.0
        self.clients: dict[str, Person] = {}
        self.records: list[Record] = []
        self.cards: list[RoomCard | None] = []
        self.events: list[RoomEvent] = []

    def join(self, name: str, role: str = "viewer", *, subject: str = "", **options) -> Person:
        person = Person(self, name, role, subject or f"sub-{name}")
        person.enter(**options)
        return person

    def pass_time(self, seconds: float) -> None:
        """Time passes, and what it brings about happens when it is due."""
        end = self.at + seconds
        while (due := self.room.next_due()) is not None and due <= end:
            self.at = max(self.at, due)
            for event in self.room.due(self.at):
                self.apply(event)
        self.at = end

    def tick(self) -> None:
        self.apply(Tick(self.at))

    def apply(self, event: RoomEvent) -> list[Effect]:
        self.events.append(event)
        effects = self.room.apply(event)
        for effect in effects:
            self._carry_out(effect)
        return effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to=links, message=message):
                for link in links:
                    if link in self.clients:
                        self.clients[link].deliver(message)
            case Broadcast(message=message, seq=seq, but=but):
                for link, person in self.clients.items():
                    if link not in but and self.room.was_in(link, seq):
                        person.deliver(message)
            case Greet(link=link, welcome=welcome):
                if link in self.clients:
                    self.clients[link].deliver(welcome)
            case Close(link=link, error=error):
                if link in self.clients:
                    self.clients.pop(link).close(error)
            case Probe(link=link):
                self.clients[link].probed += 1
            case MakeInvitation(link=link, request=request, role=role):
                self.clients[link].invitations.append((request, role))
            case Put(record=record):
                self.records.append(record)
            case Announce(card=card):
                self.cards.append(card)
            case _:
                raise AssertionError(effect)

    def took_place(self) -> list[str]:
        """The types of the records since the last time."""
        kinds = [record.type for record in self.records]
        self.records = []
        return kinds
