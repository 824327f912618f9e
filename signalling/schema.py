"""``python -m signalling.schema``: writes the protocol as an AsyncAPI 3 document.

Everything in it comes from the message types: bounds, defaults, and the docstrings as descriptions.
``--check`` writes nothing and fails where the file is not what would be written.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import msgspec

from . import messages
from .messages import (
    CLOSE_CODES,
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    MAX_SERVER_MESSAGE_BYTES,
    MEANINGS,
    PROTOCOL_VERSION,
    SUBPROTOCOL,
    ClientMessage,
    Message,
    Relayed,
    Request,
    RoomRequest,
    ServerMessage,
)

PATH = Path(__file__).resolve().parent.parent / "docs" / "signalling.asyncapi.json"

_SCHEMAS = "#/components/schemas/"
_CHANNEL = {"$ref": "#/channels/signalling"}
_ANSWERS = (messages.Done, messages.Invited, messages.Error)


def document() -> dict[str, Any]:
    """The AsyncAPI document. The server is the application that it describes."""
    kinds = _kinds(ClientMessage | ServerMessage)
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS + "{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Playcast signalling",
            "version": str(PROTOCOL_VERSION),
            "description": (
                "How hosts and viewers of a room find each other, and who may do what in it. Each"
                f" WebSocket text frame is one JSON object, at most {MAX_MESSAGE_BYTES} bytes long"
                f" from a client and {MAX_SERVER_MESSAGE_BYTES} from the server, nested at most"
                f" {MAX_DEPTH} deep, without unknown fields and without a key given twice."
            ),
            "license": {"name": "GPL-2.0-or-later"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "dev": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "What playcast serve --dev starts. Others have TLS: wss.",
            }
        },
        "channels": {
            "signalling": {
                "address": "/ws",
                "description": (
                    f"One WebSocket of one client, with the subprotocol {SUBPROTOCOL}. The first"
                    " frame is a hello."
                ),
                "messages": {
                    _tag(kind): {"$ref": f"#/components/messages/{_tag(kind)}"} for kind in kinds
                },
            }
        },
        "operations": {
            "hello": _operation(
                "receive",
                [messages.Hello],
                "Somebody comes, or comes back.",
                [messages.Waiting, messages.Welcome, messages.Error],
            ),
            "request": _operation(
                "receive",
                _kinds(RoomRequest),
                "A member wants something of the room. The answer has the request's id.",
                _ANSWERS,
            ),
            "relay": _operation(
                "receive", _kinds(Relayed), "A member says something to another, by its peer id."
            ),
            "tell": _operation(
                "receive",
                [
                    messages.FreshToken,
                    messages.Ping,
                    messages.Pong,
                    messages.Trace,
                    messages.Bye,
                ],
                "A client says something about its connection.",
            ),
            "deliver": _operation(
                "send",
                _kinds(ServerMessage),
                "What the server says. Messages of the room have a growing seq, by which a client"
                " that comes back is sent what it missed.",
            ),
        },
        "components": {
            "messages": {_tag(kind): _message(kind) for kind in kinds},
            "schemas": {name: _clean(name, schema) for name, schema in sorted(schemas.items())},
        },
        "x-errors": {
            code: {
                "closeCode": CLOSE_CODES[code],
                "meaning": meaning.sentence,
                "retry": meaning.retry,
            }
            for code, meaning in MEANINGS.items()
        },
    }


def text() -> str:
    """The document, as it is in the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(
    action: str,
    kinds: Iterable[type[Message]],
    summary: str,
    answers: Iterable[type[Message]] = (),
) -> dict[str, Any]:
    operation = {
        "action": action,
        "channel": _CHANNEL,
        "summary": summary,
        "messages": [_reference(kind) for kind in kinds],
    }
    if answers:
        operation["reply"] = {
            "channel": _CHANNEL,
            "messages": [_reference(kind) for kind in answers],
        }
    return operation


def _message(kind: type[Message]) -> dict[str, Any]:
    summary, _, description = _plain(inspect.getdoc(kind) or "").partition("\n\n")
    found: dict[str, Any] = {"name": _tag(kind), "summary": summary.replace("\n", " ")}
    if description:
        found["description"] = description.replace("\n", " ")
    if issubclass(kind, Request) or kind in _ANSWERS:
        found["correlationId"] = {"location": "$message.payload#/id"}
    return {**found, "payload": {"$ref": _SCHEMAS + kind.__name__}}


def _reference(kind: type[Message]) -> dict[str, str]:
    return {"$ref": f"#/channels/signalling/messages/{_tag(kind)}"}


def _kinds(union: Any) -> list[type[Message]]:
    return list(get_args(union))


def _tag(kind: type[Message]) -> str:
    return str(kind.__struct_config__.tag)


# Words ------------------------------------------------------------------------------------------


def _clean(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """With the fields' docstrings, and patterns as JSON Schema writes them (ECMA-262)."""
    kind = getattr(messages, name)
    if "description" in schema:
        schema["description"] = _plain(schema["description"]).replace("\n", " ")
    for field, words in _field_docstrings(kind).items():
        schema["properties"][field]["description"] = words
    return _with_patterns(schema)  # type: ignore[no-any-return]


def _with_patterns(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_patterns(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _with_patterns(value) for key, value in schema.items()}
    if isinstance(found.get("pattern"), str):
        found["pattern"] = found["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    return found


def _field_docstrings(kind: type) -> dict[str, str]:
    """The strings that stand below fields, of the class and those that it is made of."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith(messages.__name__):
            tree = ast.parse(inspect.getsource(base))
            [body] = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
            for field, words in pairwise(body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(words, ast.Expr)
                    and isinstance(words.value, ast.Constant)
                ):
                    docstring = inspect.cleandoc(str(words.value.value))
                    found[field.target.id] = _plain(docstring).replace("\n", " ")
    return found


def _plain(docstring: str) -> str:
    """Messages by their names on the wire, and no markup of Sphinx's."""

    def named(match: re.Match[str]) -> str:
        name = match[1].rpartition(".")[2]
        kind = getattr(messages, name, None)
        if isinstance(kind, type) and issubclass(kind, Message):
            name = _tag(kind)
        return f"`{name}`"

    return re.sub(r":\w+:`([^`]+)`", named, docstring).replace("``", "`")


# The command ------------------------------------------------------------------------------------


def write_or_check(path: Path, wanted: str, *, check: bool, command: str) -> int:
    """Write a generated file, or say that it is not as it should be. Returns the exit status."""
    if not check:
        path.write_text(wanted, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{path.name} is out of date: run {command}", file=sys.stderr)
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m signalling.schema", description="Write the protocol's AsyncAPI document."
    )
    parser.add_argument("--check", action="store_true", help="write nothing: is it up to date?")
    options = parser.parse_args(arguments)
    command = "python -m signalling.schema"
    return write_or_check(PATH, text(), check=options.check, command=command)


if __name__ == "__main__":
    sys.exit(main())
