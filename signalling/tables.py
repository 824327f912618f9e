"""``python -m signalling.tables``: writes the tables of docs/signalling.md, from what they are of.

Between ``<!-- table: NAME -->`` and ``<!-- end -->`` stands what is generated. ``--check`` writes
nothing and fails where the file is not what would be written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from .limits import RATES, Limits
from .messages import (
    CLOSE_CODES,
    MAX_DEPTH,
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_SERVER_MESSAGE_BYTES,
    MEANINGS,
    ClientMessage,
    Hello,
    Role,
    RoomSettings,
)
from .rooms import admission, handover, history, requests, rulings
from .rooms.permissions import (
    CAPABILITIES,
    MAY_ACT_ON,
    MAY_ADDRESS,
    MAY_APPOINT,
    MAY_CONFIGURE,
    MAY_SEND,
    MAY_STEER,
    ROLES,
    VISIBLE,
    tag_of,
)
from .schema import write_or_check

PATH = Path(__file__).resolve().parent.parent / "docs" / "signalling.md"

_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """Every table, by name, in Markdown."""
    return {
        "errors": _errors(),
        "messages": _messages(),
        "roles": _roles(),
        "settings": _settings(),
        "policies": _policies(),
        "sizes": _sizes(),
        "rates": _rates(),
    }


def render(document: str) -> str:
    """The document with its tables as they are now. Raises :class:`KeyError` for an unknown one."""
    found = tables()
    return _MARKED.sub(lambda match: match[1] + found[match[2]] + match[3], document)


def _errors() -> str:
    rows = (
        (f"`{code}`", str(CLOSE_CODES[code]), meaning.sentence, meaning.retry)
        for code, meaning in sorted(MEANINGS.items(), key=lambda item: CLOSE_CODES[item[0]])
    )
    return _table(("code", "close code", "meaning", "try again?"), rows)


def _messages() -> str:
    kinds = [kind for kind in get_args(ClientMessage) if kind is not Hello]
    rows = (
        (f"`{tag_of(kind)}`", *("●" if kind in MAY_SEND[role] else "" for role in ROLES))
        for kind in sorted(kinds, key=tag_of)
    )
    return _table(("message", *ROLES), rows)


def _roles() -> str:
    by_role: Sequence[tuple[str, Mapping[Role, frozenset[str]]]] = (
        ("may do, without anyone's word", CAPABILITIES),
        ("sees", VISIBLE),
        ("addresses (offers, answers, …)", MAY_ADDRESS),
        ("admits, promotes, kicks, bans", MAY_ACT_ON),
        ("gives to and takes from (controls, permissions)", MAY_STEER),
        ("makes others, by promoting or inviting", MAY_APPOINT),
    )
    rows = ((what, *(_names(table[role]) for role in ROLES)) for what, table in by_role)
    return _table(("", *ROLES), rows)


def _settings() -> str:
    defaults = RoomSettings()
    rows = (
        (f"`{name}`", f"`{json.dumps(getattr(defaults, name))}`", *_who_configures(name))
        for name in RoomSettings.__struct_fields__
    )
    return _table(("setting", "at first", *ROLES), rows)


def _who_configures(name: str) -> Iterable[str]:
    return ("●" if name in MAY_CONFIGURE[role] else "" for role in ROLES)


def _policies() -> str:
    without = {"open": "comes in", "approval": "waits to be let in"}
    rows = (
        (f"`{policy}`", _names(marks) or "–", without.get(policy, "is refused: `not-admitted`"))
        for policy, marks in admission.ADMITTING.items()
    )
    return _table(("policy", "comes in with a mark of", "without one"), rows)


def _sizes() -> str:
    limits = Limits()
    rows = (
        ("frame of a client, bytes", MAX_MESSAGE_BYTES),
        ("… before its hello is answered", MAX_HELLO_BYTES),
        ("frame of the server, bytes", MAX_SERVER_MESSAGE_BYTES),
        ("nesting of a frame", MAX_DEPTH),
        ("messages of a room that are kept for who comes back", history.MAX_MESSAGES),
        ("… and their size, bytes", history.MAX_SIZE),
        ("who waits to be let in, of a room", admission.MAX_WAITING),
        ("… of one user; and of one user in a room with a capacity", admission.MAX_PLACES),
        ("who waits for one control", handover.MAX_QUEUE),
        ("… of one invitation; of one user it is 1", handover.MAX_QUEUE_OF_INVITATION),
        ("who is kept out, of a room", requests.MAX_BANS),
        ("of whom a room keeps what was decided of them", rulings.MAX_RULINGS),
        ("connections of a server", limits.max_connections),
        ("… of one address", limits.max_connections_per_address),
        ("… of one user, in rooms", limits.max_connections_per_user),
        ("rooms of a server", limits.max_rooms),
        ("waiting for a client that reads slowly, bytes", limits.outbox_bytes),
    )
    return _table(("what", "at most"), ((what, f"{most:,}") for what, most in rows))


def _rates() -> str:
    rows = []
    for kind, limit in RATES.items():
        whose, _, what = kind.rpartition(".")
        figures = (f"{limit.per_s:,g}", f"{limit.burst:,g}")
        rows.append((f"`{what}`", f"each {whose or 'connection'}", *figures))
    return _table(("what", "of", "a second", "at once"), rows)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m signalling.tables", description="Write the tables of docs/signalling.md."
    )
    parser.add_argument("--check", action="store_true", help="write nothing: are they up to date?")
    options = parser.parse_args(arguments)
    wanted = render(PATH.read_text(encoding="utf-8"))
    command = "python -m signalling.tables"
    return write_or_check(PATH, wanted, check=options.check, command=command)


if __name__ == "__main__":
    sys.exit(main())
