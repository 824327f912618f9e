"""From the records of a signalling server to events."""

from __future__ import annotations

import logging

import msgspec

from signalling.records import Record

from .bus import EventBus
from .envelope import Event
from .outbox import Outbox
from .types import SCHEMA_BY_TYPE, EventData

log = logging.getLogger(__name__)


class RecordEvents:
    """A :class:`signalling.records.RecordSink` whose records are published as events.

    Use from the server's event loop. Close it after the server, and the bus after it.
    """

    def __init__(self, bus: EventBus, source: str, *, capacity: int = 10_000) -> None:
        """``source`` names the server in its events, such as ``/signalling/NODE``; ``capacity``
        says how many records wait while the log is away, before newer ones are dropped."""
        self.outbox = Outbox(bus, capacity=capacity)
        self.malformed = 0
        """Records whose data is not as their event's type says."""

        self._source = source

    def put(self, record: Record) -> None:
        try:
            data = data_of(record)
        except msgspec.ValidationError as error:
            if not self.malformed:
                log.warning("A record %s is no event: %s", record.type, error)
            self.malformed += 1
            return
        self.outbox.put(
            Event.of(data, source=self._source, at=record.at, traceparent=record.traceparent)
        )

    async def close(self, patience_s: float = 5.0) -> None:
        """Publish what waits, for so long. May be called again."""
        await self.outbox.close(patience_s)


def data_of(record: Record) -> EventData:
    """What a record says. Raises :class:`msgspec.ValidationError` where its data does not fit."""
    words = {
        "room": record.room,
        "actor": record.actor,
        "subject": record.subject,
        "peer": record.peer,
        **record.data,
    }
    return msgspec.convert(words, SCHEMA_BY_TYPE[record.type].data)
