"""One event and its envelope: CloudEvents 1.0 attributes, JSON in structured mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .types import SCHEMA_BY_TYPE, SCHEMA_BY_URI, SCHEMA_OF, EventData, Schema, UnknownData

MAX_EVENT_BYTES = 64 * 1024
"""The longest event that is published or read, in bytes of JSON."""

_TYPE = r"\A[a-z][a-z0-9]*(?:[._-][a-z0-9]+)+\Z"
_TRACEPARENT = r"\A(?:[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?\Z"


class EventError(ValueError):
    """Something that is not an event, or not one that may be published. Says which field."""


class _Attributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The context attributes. Others' extension attributes are ignored."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    """Unique among the events of a ``source``: a second one of the same id is a duplicate."""

    source: Annotated[str, Meta(min_length=1, max_length=256)]
    """Who says so: a URI reference, such as ``/signalling/NODE``."""

    type: Annotated[str, Meta(max_length=64, pattern=_TYPE)]
    """What happened: subject and verb, such as ``stream.started``."""

    time: datetime
    """When it happened."""

    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, Meta(min_length=1, max_length=256)]
    """Type and version of ``data``: ``urn:playcast:event:TYPE:VERSION``."""

    subject: Annotated[str, Meta(max_length=256)] = ""
    """What it happened to: ``room/NAME`` or ``room/NAME/peer/ID``."""

    traceparent: Annotated[str, Meta(pattern=_TRACEPARENT)] = ""
    """The W3C trace context in which it happened (an extension attribute)."""


class _Encoded(_Attributes, frozen=True, kw_only=True, omit_defaults=True):
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Event(_Attributes, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. Make one with :meth:`of`."""

    data: EventData | UnknownData

    @classmethod
    def of(
        cls,
        data: EventData,
        *,
        source: str,
        at: float | None = None,
        id: str = "",
        traceparent: str = "",
    ) -> Event:
        """The event that says ``data``. ``at`` in seconds of Unix time; none: now."""
        schema = SCHEMA_OF[type(data)]
        moment = time.time() if at is None else at
        return cls(
            specversion="1.0",
            id=id or event_id(moment),
            source=source,
            type=schema.name,
            time=datetime.fromtimestamp(moment, UTC),
            datacontenttype="application/json",
            dataschema=schema.uri,
            subject=subject_of(data),
            traceparent=traceparent,
            data=data,
        )

    @property
    def key(self) -> str:
        """What no two events share: source and id."""
        return f"{self.source} {self.id}"

    @property
    def schema(self) -> Schema | None:
        """None: of a type or version that this release does not know."""
        return SCHEMA_BY_URI.get(self.dataschema)

    @property
    def room(self) -> str:
        """The room it is about; empty for none."""
        if isinstance(self.data, EventData):
            return self.data.room
        room = self.data.get("room", "")
        return room if isinstance(room, str) else ""


def event_id(at: float) -> str:
    """An id that sorts by time: 48 bits of milliseconds, 80 random ones, in hex."""
    return f"{max(0, int(at * 1000)) & (1 << 48) - 1:012x}{secrets.token_hex(10)}"


def subject_of(data: EventData) -> str:
    """The ``subject`` attribute: the resource, not the person."""
    if not data.room:
        return ""
    return f"room/{data.room}/peer/{data.peer}" if data.peer else f"room/{data.room}"


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(_Encoded)
_plain = msgspec.json.Decoder(UnknownData)
_data: dict[str, msgspec.json.Decoder[EventData]] = {
    uri: msgspec.json.Decoder(schema.data) for uri, schema in SCHEMA_BY_URI.items()
}


def encode_event(event: Event) -> bytes:
    """As JSON. Raises :class:`EventError` when it is too long or holds what JSON cannot."""
    try:
        body = _encoder.encode(event)
    except (TypeError, ValueError, OverflowError) as error:
        raise EventError(f"data: {error}") from None
    if len(body) > MAX_EVENT_BYTES:
        raise EventError(f"an event of {len(body)} bytes; the most is {MAX_EVENT_BYTES}")
    return body


def decode_event(body: bytes) -> Event:
    """Raises :class:`EventError` for anything but an event."""
    if len(body) > MAX_EVENT_BYTES:
        raise EventError(f"an event of {len(body)} bytes; the most is {MAX_EVENT_BYTES}")
    try:
        found = _envelopes.decode(body)
        schema = SCHEMA_BY_URI.get(found.dataschema)
        if schema is not None and schema.name != found.type:
            raise EventError(f"dataschema: {found.dataschema} is not of type {found.type}")
        decoder = _data.get(found.dataschema)
        data = _plain.decode(found.data) if decoder is None else decoder.decode(found.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(str(error) or "nested too deeply") from None
    return Event(
        specversion=found.specversion,
        id=found.id,
        source=found.source,
        type=found.type,
        time=found.time,
        datacontenttype=found.datacontenttype,
        dataschema=found.dataschema,
        subject=found.subject,
        traceparent=found.traceparent,
        data=data,
    )


def validate(event: Event) -> Event:
    """The event, if it may be published: every attribute as its type says, the data as its schema.

    Raises :class:`EventError` naming the field.
    """
    if event.time.tzinfo is None:
        raise EventError("time: needs a time zone")
    schema = event.schema
    if schema is None and event.type in SCHEMA_BY_TYPE:
        raise EventError(f"dataschema: {event.type} has no version {event.dataschema!r}")
    if schema is not None and type(event.data) is not schema.data:
        raise EventError(f"data: {event.type} takes {schema.data.__name__}")
    decoded = decode_event(encode_event(event))
    if decoded.key != event.key:
        raise EventError("id, source: cannot be written as JSON")
    return event
