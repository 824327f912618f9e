"""One server's copy of a room's log in Redis: what was heard, what is missing, what to deliver.

No I/O and no clock. :class:`.bus.RedisBus` brings entries from three sides (the channel, the
answers to its own publishing, and what it reads after an outage); whatever comes twice, late or
after a gap, :class:`RoomCopy` lets each event through once and in the log's order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ..rooms import Join, Leave, Relay, RoomEvent

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[RoomEvent] = msgspec.json.Decoder(RoomEvent)
_join_decoder = msgspec.json.Decoder(Join)

_PEER = "@@"


class Gap(Exception):
    """The copy lacks something: the room must be entered again."""


class RedisDataError(Exception):
    """What is stored in Redis, or came from it, is not ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a room's log. ``q`` is 0 for what a script wrote on somebody's behalf."""

    n: int
    server: str
    q: int
    event: RoomEvent


@dataclass(frozen=True)
class Entered:
    """What the script ENTER answered."""

    epoch: str
    n: int
    may_stay: bool
    peers: dict[str, Join]
    """Oldest first."""
    entries: list[Entry]


@dataclass
class Caught:
    """What comes of entering."""

    events: list[RoomEvent] = field(default_factory=list)
    lost: bool = False
    """Redis lost events that it had confirmed: send the latest ones again."""
    again: bool = False
    """Redis has gone back behind this copy: enter again, to read the whole log."""


class RoomCopy:
    """Follows one room for the server ``server``."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.epoch = ""
        """The epoch that was entered last; "" before the first time."""
        self.position = 0
        """The n of the last entry taken."""
        self.present: dict[str, Join] = {}
        """Who is in, oldest first."""
        self.own: dict[str, Join] = {}
        """Those of them who are clients of this server."""
        self.missing: set[str] = set()
        """Those whom Redis has lost and whose server may still put them back."""
        self._at: tuple[str, int] = ("", 0)
        self._seen: dict[str, int] = {}

    def take(self, epoch: str, entry: Entry) -> list[RoomEvent]:
        """What to deliver for an entry that came live. Raises :class:`Gap`."""
        if epoch != self.epoch or entry.n > self.position + 1:
            raise Gap
        if entry.n <= self.position:
            if entry.q > self._seen.get(entry.server, 0):
                raise Gap  # another event at a place already passed: Redis has gone back
            return []
        return self._advance(entry)

    def take_local(self, q: int, event: RoomEvent) -> list[RoomEvent]:
        """What to deliver for an event of this server's that does not wait for Redis."""
        return self._accept(self._server, q, event)

    def enter(self, entered: Entered) -> Caught:
        """Take the answer to entering: the first time all peers, later what was missed."""
        caught = Caught()
        first = not self.epoch
        lost = not first and entered.epoch != self.epoch
        if lost:
            self.position = 0
        rewound = not first and self.position == 0  # now, or the last time
        if not first and not rewound and not self._continues(entered):
            trimmed = bool(entered.entries) and entered.entries[0].n > self.position
            if not trimmed:
                self.position = 0
                caught.again = caught.lost = True
                return caught
        whole = bool(entered.entries) and entered.entries[0].n <= self.position + 1
        self.epoch = entered.epoch
        caught.lost = lost
        if rewound:
            self.missing = self.present.keys() - self.own.keys() - entered.peers.keys()
        if not first and whole:
            for entry in entered.entries:
                if entry.n > self.position:
                    caught.events += self._advance(entry)
        self.position = entered.n
        if entered.entries:
            self._at = (entered.entries[-1].server, entered.entries[-1].q)
        caught.events += self._reconcile(entered)
        return caught

    def give_up_missing(self) -> list[RoomEvent]:
        """The Leaves of those whom no server has put back in time."""
        events: list[RoomEvent] = []
        for peer in [peer for peer in self.present if peer in self.missing]:
            events += self._left(Leave(peer, "lost"))
        self.missing.clear()
        return events

    def _continues(self, entered: Entered) -> bool:
        if not entered.entries:
            return False
        entry = entered.entries[0]
        return entry.n == self.position and self._at in ((entry.server, entry.q), ("", 0))

    def _advance(self, entry: Entry) -> list[RoomEvent]:
        self.position = entry.n
        self._at = (entry.server, entry.q)
        return self._accept(entry.server, entry.q, entry.event)

    def _accept(self, server: str, q: int, event: RoomEvent) -> list[RoomEvent]:
        if q:
            if q <= self._seen.get(server, 0):
                return []
            self._seen[server] = q
        match event:
            case Join(peer=peer):
                self.missing.discard(peer)
                if peer in self.present:
                    return []
                # A newcomer ends the time for putting back: see the script ENTER.
                events = self.give_up_missing() if q else []
                self.present[peer] = event
                return [*events, event]
            case Leave():
                return self._left(event)
            case _:
                return [event]

    def _left(self, leave: Leave) -> list[RoomEvent]:
        self.missing.discard(leave.peer)
        self.own.pop(leave.peer, None)
        return [leave] if self.present.pop(leave.peer, None) is not None else []

    def _reconcile(self, entered: Entered) -> list[RoomEvent]:
        """Whatever the log did not tell: the difference to those whom Redis has."""
        events: list[RoomEvent] = []
        for peer in list(self.present):
            gone = peer not in entered.peers and peer not in self.missing
            if gone and (peer not in self.own or not entered.may_stay):
                events += self._left(Leave(peer, "lost"))
        for peer, join in entered.peers.items():
            if peer not in self.present:
                self.present[peer] = join
                events.append(join)
        return events


# What goes over the wire ------------------------------------------------------------------------


def encode_event(event: RoomEvent) -> bytes:
    return _encoder.encode(event)


def event_kind(event: RoomEvent) -> tuple[str, str]:
    """The words for the script PUBLISH: join, leave or relay, and whom it is about."""
    match event:
        case Join(peer=peer):
            return "join", peer
        case Leave(peer=peer):
            return "leave", peer
        case Relay(source=source):
            return "relay", source


def leave_template() -> tuple[bytes, bytes]:
    """What stands before and after the peer in a Leave that a script writes."""
    before, _, after = encode_event(Leave(_PEER, "lost")).partition(_PEER.encode())
    return before, after


def decode_message(data: bytes) -> tuple[str, Entry]:
    """A message of a room's channel: its epoch and entry. Raises :class:`RedisDataError`."""
    try:
        epoch, n, server, q, event = data.split(b" ", 4)
        return epoch.decode(), Entry(int(n), server.decode(), int(q), _decoder.decode(event))
    except (ValueError, msgspec.MsgspecError) as error:
        raise RedisDataError(f"a message of a room's channel: {error}") from error


def decode_entered(reply: list[object]) -> Entered:
    """The answer of the script ENTER. Raises :class:`RedisDataError`."""
    try:
        epoch, n, may_stay, peers, entries = reply
        assert isinstance(epoch, bytes)
        assert isinstance(n, int)
        assert isinstance(peers, list)
        assert isinstance(entries, list)
        joins = sorted(_peer_value(value) for value in peers[1::2])
        return Entered(
            epoch=epoch.decode(),
            n=n,
            may_stay=may_stay == 1,
            peers={join.peer: join for join in (_join_decoder.decode(text) for _, text in joins)},
            entries=[_stream_entry(name, fields) for name, fields in entries],
        )
    except (AssertionError, IndexError, KeyError, ValueError, msgspec.MsgspecError) as error:
        raise RedisDataError(f"a room's keys: {error}") from error


def _peer_value(value: bytes) -> tuple[int, bytes]:
    n, _, join = value.split(b" ", 2)
    return int(n), join


def _stream_entry(name: bytes, fields: Iterable[bytes]) -> Entry:
    words = iter(fields)
    found = dict(zip(words, words, strict=True))
    n = int(name.partition(b"-")[0])
    return Entry(n, found[b"s"].decode(), int(found[b"q"]), _decoder.decode(found[b"e"]))
