"""Session descriptions (RFC 8866) as lines: cut into sections, read attribute by attribute.

Everything here is for text that came from a stranger: whatever is wrong with it becomes one
:class:`SdpError` that says which line and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_CHARACTERS = 64 * 1024
"""The longest description that is read."""

MAX_LINES = 2000

# RFC 8866 section 9, byte-string: anything but NUL, CR and LF.
_LINE = re.compile(r"([a-z])=([^\0\r\n]*)")
_MEDIA = re.compile(r"([a-z]+) ([0-9]{1,5})(?:/[0-9]{1,5})? ([A-Za-z/]+) (.+)")


class SdpError(ValueError):
    """A session description or candidate that cannot be used. The text says which line and why."""

    def __init__(self, reason: str, line: Line | None = None) -> None:
        where = "" if line is None else f'line {line.number} "{_printable(line.text)}": '
        super().__init__(where + reason)


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `name` and `value` are those of an attribute ("" and the text for other types)."""

    number: int
    kind: str
    name: str
    value: str

    @property
    def text(self) -> str:
        """The line as it was written."""
        if self.kind != "a":
            return f"{self.kind}={self.value}"
        return f"a={self.name}:{self.value}" if self.value else f"a={self.name}"

    def fields(self, count: int) -> list[str]:
        """The value cut at spaces into `count` parts, the last of which may hold more spaces."""
        parts = self.value.split(" ", count - 1)
        if len(parts) < count or not all(parts):
            raise SdpError(f"takes {count} fields", self)
        return parts

    def integer(self, text: str, low: int, high: int) -> int:
        """A decimal number of this line. SdpError out of `low`..`high`."""
        if not (text.isascii() and text.isdecimal() and len(text) <= 10):
            raise SdpError(f"{_printable(text)} is not a number", self)
        number = int(text)
        if not low <= number <= high:
            raise SdpError(f"{number} is not in {low}..{high}", self)
        return number


@dataclass(slots=True)
class Section:
    """The session part (`media` is None) or one media section."""

    media: Line | None = None
    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    attributes: list[Line] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Line]:
        """The attributes of that name, in order."""
        return (line for line in self.attributes if line.name == name)

    def first(self, name: str) -> Line | None:
        """The first attribute of that name."""
        return next(self.all(name), None)

    def has(self, name: str) -> bool:
        """Is there an attribute of that name?"""
        return self.first(name) is not None


def read_sections(text: str) -> tuple[Section, list[Section]]:
    """Cut a description into its session part and its media sections."""
    if len(text) > MAX_CHARACTERS:
        raise SdpError(f"the description is longer than {MAX_CHARACTERS} characters")
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SdpError(f"the description has more than {MAX_LINES} lines")
    while lines and not lines[-1]:
        lines.pop()
    if not lines or lines[0] != "v=0":
        raise SdpError('the description does not begin with "v=0"')
    session = section = Section()
    media: list[Section] = []
    for number, raw in enumerate(lines, start=1):
        line = _read_line(number, raw)
        if line.kind == "m":
            section = _read_media(line)
            media.append(section)
        elif line.kind == "a":
            section.attributes.append(line)
    return session, media


def _read_line(number: int, raw: str) -> Line:
    match = _LINE.fullmatch(raw)
    if match is None:
        raise SdpError('is not of the form "x=value"', Line(number, "?", "", raw))
    kind, value = match.groups()
    if kind != "a":
        return Line(number, kind, "", value)
    name, _, attribute = value.partition(":")
    return Line(number, "a", name, attribute)


def _read_media(line: Line) -> Section:
    match = _MEDIA.fullmatch(line.value)
    if match is None:
        raise SdpError('is not of the form "m=kind port protocol formats"', line)
    kind, port, protocol, formats = match.groups()
    return Section(line, kind, line.integer(port, 0, 65535), protocol, tuple(formats.split()))


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in text[:80])
    return shown + ("…" if len(text) > 80 else "")
