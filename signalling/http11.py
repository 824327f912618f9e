"""HTTP/1.1 (RFC 9112), as much of it as a server of small files needs: requests without a body.

:func:`parse_request` reads a request's head, :class:`Response` writes an answer. Nothing here does
I/O. What two readers could understand differently is refused, not guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD_BYTES = 16 * 1024
"""The longest request line and fields that are read, together, in bytes."""

MAX_TARGET_BYTES = 4096
MAX_FIELDS = 64

END_OF_HEAD = b"\r\n\r\n"

Fields = tuple[tuple[str, str], ...]
"""Names and values, in their order."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!\"$-~]+) HTTP/1\.([01])")
_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)
# RFC 3986 section 3.2: a name or an address, and a port. Whose it is that asks is not said there.
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([\t -~\x80-\xff]*)")


class BadRequest(Exception):
    """A request that is not answered with what it asks for."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request."""

    method: str
    target: str
    """A path and query: of a target with a scheme and authority (RFC 9112 section 3.2.2), these."""

    host: str
    """Whom the client means to speak with: the target's authority where it has one, else the Host;
    may be empty."""

    fields: Fields
    """Names in lower case, values without the white space around them."""

    persistent: bool
    """Whether the client would send another request over this connection."""

    minor_version: int = 1
    """Of HTTP/1: 0 or 1."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def get_all(self, name: str) -> list[str]:
        """All values of the field ``name`` (lower case), in their order."""
        return _values(self.fields, name)

    def get(self, name: str) -> str | None:
        """The value of a field that is there exactly once."""
        values = self.get_all(name)
        return values[0] if len(values) == 1 else None

    def has_token(self, name: str, token: str) -> bool:
        """Whether the comma-separated field ``name`` has ``token``, in whichever case."""
        return _has_token(self.fields, name, token)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()
    """Besides those that say what the body is."""

    @classmethod
    def words(cls, status: HTTPStatus, text: str, *fields: tuple[str, str]) -> Response:
        """A response that is a sentence."""
        return cls(status, f"{text}\n".encode(), fields=fields)

    def to_bytes(
        self, common: tuple[tuple[str, str], ...], *, head_only: bool, persistent: bool
    ) -> bytes:
        """The response on the wire, with the fields that are ``common`` to all responses."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in common]
        lines += [f"{name}: {value}" for name, value in self.fields]
        if self.status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.SWITCHING_PROTOCOLS):
            lines.append(f"Content-Type: {self.content_type}")
            lines.append(f"Content-Length: {len(self.body)}")
        if self.status != HTTPStatus.SWITCHING_PROTOCOLS and not persistent:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1") + END_OF_HEAD
        return head if head_only else head + self.body


def parse_request(head: bytes) -> Request:
    """Read a request's head, :data:`END_OF_HEAD` left off. Raises :class:`BadRequest`."""
    line, *rest = head.split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise _bad("The request line is not one of HTTP/1.1.")
    method, target, minor = found.groups()
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(HTTPStatus.REQUEST_URI_TOO_LONG, "The request target is too long.")
    if len(rest) > MAX_FIELDS:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise BadRequest(status, f"There are more than {MAX_FIELDS} header fields.")
    fields = tuple(map(_parse_field, rest))
    _require_no_body(fields)
    path, host = _where(method.decode(), target.decode(), _host(fields, minor))
    persistent = minor == b"1" and not _has_token(fields, "connection", "close")
    return Request(method.decode(), path, host, fields, persistent, int(minor))


def _values(fields: Fields, name: str) -> list[str]:
    return [value for field, value in fields if field == name]


def _has_token(fields: Fields, name: str, token: str) -> bool:
    listed = ",".join(_values(fields, name)).lower().split(",")
    return token in (word.strip() for word in listed)


def _host(fields: Fields, minor: bytes) -> str:
    hosts = _values(fields, "host")
    if len(hosts) > 1 or (minor == b"1" and not hosts):
        raise _bad("A request has one Host.")
    host = hosts[0] if hosts else ""
    if host and not _AUTHORITY.fullmatch(host):
        raise _bad("The Host is no name or address with a port.")
    return host


def _where(method: str, target: str, host: str) -> tuple[str, str]:
    """Path and query, and whose they are (RFC 9112 section 3.2)."""
    if target.startswith("/") or method == "CONNECT" or (method, target) == ("OPTIONS", "*"):
        return target, host
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not _AUTHORITY.fullmatch(absolute[1]):
        raise _bad("The request target is no path, nor an http or https URL.")
    path = absolute[2]
    return path if path.startswith("/") else f"/{path}", absolute[1]


def _parse_field(line: bytes) -> tuple[str, str]:
    found = _FIELD.fullmatch(line)
    if found is None:
        raise _bad("A header field is malformed.")
    return found[1].decode().lower(), found[2].strip(b" \t").decode("latin-1")


def _require_no_body(fields: Fields) -> None:
    if _values(fields, "transfer-encoding"):
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "Requests here have no body.")
    lengths = _values(fields, "content-length")
    if any(not (length.isascii() and length.isdecimal()) for length in lengths):
        raise _bad("The Content-Length is not a number.")
    if any(length.strip("0") for length in lengths):
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Requests here have no body.")


def _bad(text: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, text)
