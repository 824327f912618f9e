"""Messages from and to JSON text frames.

Refused (:class:`MessageError`): unknown types, unknown fields, wrong types, values out of range, a
key given twice, nesting deeper than :data:`MAX_DEPTH`, frames over :data:`MAX_MESSAGE_BYTES` (from
the server: :data:`MAX_SERVER_MESSAGE_BYTES`). Size and depth are checked before the decoder runs.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from .types import ClientMessage, ServerMessage

MAX_MESSAGE_BYTES = 64 * 1024
"""The longest frame of a client that is decoded, in bytes of UTF-8."""

MAX_HELLO_BYTES = 16 * 1024
"""The longest frame of a client before its hello is answered: room for the longest token with the
longest name and room settings, however their text is escaped."""

MAX_SERVER_MESSAGE_BYTES = 1024 * 1024
"""The longest frame of the server: a :class:`.Welcome` names everyone who is there."""

MAX_DEPTH = 8
"""The deepest nesting of JSON objects and arrays that is decoded."""


class MessageError(ValueError):
    """A frame that is not a message of this protocol. The text says which field, and why."""


class MessageTooLarge(MessageError):
    """A frame that is too long."""


_client_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def decode_client(frame: str | bytes) -> ClientMessage:
    """Decode a frame that a client sent. Raises :class:`MessageError`."""
    return _decode(_client_decoder, frame, MAX_MESSAGE_BYTES)


def decode_server(frame: str | bytes) -> ServerMessage:
    """Decode a frame that the server sent. Raises :class:`MessageError`."""
    return _decode(_server_decoder, frame, MAX_SERVER_MESSAGE_BYTES)


def encode(message: ClientMessage | ServerMessage) -> str:
    """Encode a message as one JSON text frame."""
    return _encoder.encode(message).decode()


_Message_T = TypeVar("_Message_T")

# A JSON string, or its beginning where the frame ends inside it. Possessive, so a frame of quotes
# and backslashes costs linear time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _decode(
    decoder: msgspec.json.Decoder[_Message_T], frame: str | bytes, limit: int
) -> _Message_T:
    data = _to_utf8(frame, limit)
    objects = data.count(b"{")
    if objects + data.count(b"[") > MAX_DEPTH:
        _check_depth(data)
    try:
        message = decoder.decode(data)
        # msgspec keeps the last of two equal keys; another reader may keep the first.
        if objects != 1 or not _names_each_key_once(data, type(message)):
            json.loads(data, object_pairs_hook=_refuse_duplicates, parse_int=str, parse_float=str)
    except MessageError:
        raise
    except UnicodeError as error:
        raise MessageError("the frame is not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise MessageError(_describe(error)) from error
    return message


def _to_utf8(frame: str | bytes, limit: int) -> bytes:
    if len(frame) <= limit:
        try:
            data = frame.encode() if isinstance(frame, str) else frame
        except UnicodeEncodeError as error:
            raise MessageError("the frame is not valid Unicode") from error
        if len(data) <= limit:
            return data
    raise MessageTooLarge(f"the frame is longer than {limit} bytes")


def _check_depth(data: bytes) -> None:
    depth = 0
    for byte in _STRING.sub(b"", data):
        if byte in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise MessageError(f"the frame is nested deeper than {MAX_DEPTH} levels")
        elif byte in b"}]":
            depth -= 1


_keys: dict[type, tuple[tuple[bytes, int], ...]] = {}


def _names_each_key_once(data: bytes, kind: type[Any]) -> bool:
    """Whether a valid frame with one object certainly has no key twice; ``False``: it may.

    The fields' names are ASCII letters, so a key is its name in quotes, or it is spelled with a
    ``\\u`` escape. A value that is some field's name counts as a key here, but for the type's.
    """
    if b"\\u" in data:
        return False
    keys = _keys.get(kind)
    if keys is None:
        tag = kind.__struct_config__.tag
        names = ["type", *(field.encode_name for field in msgspec.structs.fields(kind))]
        _keys[kind] = keys = tuple((f'"{name}"'.encode(), 1 + (name == tag)) for name in names)
    for key, times in keys:  # noqa: SIM110  # a generator would cost as much as all the counts
        if data.count(key) > times:
            return False
    return True


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise MessageError("an object has the same key twice")


def _describe(error: Exception) -> str:
    """The decoder's words, cut short and printable: they may quote what the other side sent."""
    text = "".join(character if character.isprintable() else "?" for character in str(error)[:200])
    return text or "the frame is not JSON"
