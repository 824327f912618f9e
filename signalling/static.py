"""The web viewer's files over HTTP, from memory.

All files are read once, at the start, and found by their exact path in a table: no path of a
request ever reaches the file system.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from .http11 import Request, Response

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""The kinds of files that are served; others are left out."""

_PERMISSIONS = (
    "autoplay=(self), clipboard-read=(self), clipboard-write=(self), fullscreen=(self),"
    " gamepad=(self), keyboard-map=(self), microphone=(self), screen-wake-lock=(self),"
    " accelerometer=(), browsing-topics=(), camera=(), display-capture=(),"
    " geolocation=(), gyroscope=(), hid=(), magnetometer=(), midi=(), payment=(), serial=(),"
    " usb=()"
)
SECURITY_FIELDS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    # Together these isolate the page, which also gives it the finer performance.now().
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", _PERMISSIONS),
)
"""The header fields of every response."""

HSTS = ("Strict-Transport-Security", "max-age=31536000")
"""And over TLS (RFC 6797)."""

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


@dataclass(frozen=True)
class _File:
    content: bytes
    content_type: str
    etag: str


class StaticFiles:
    """The files under one folder."""

    def __init__(self, root: Path) -> None:
        """Reads every file of a known kind under ``root``, hidden ones excepted."""
        self._files: dict[str, _File] = {}
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            content_type = CONTENT_TYPES.get(path.suffix)
            hidden = any(part.startswith(".") for part in relative.parts)
            if content_type is not None and not hidden and path.is_file():
                content = path.read_bytes()
                etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
                self._files[f"/{relative.as_posix()}"] = _File(content, content_type, etag)
        if "/index.html" in self._files:
            self._files["/"] = self._files["/index.html"]

    def respond(self, request: Request) -> Response:
        """The answer to a GET or HEAD."""
        file = self._files.get(request.path)
        if file is None:
            return Response.words(HTTPStatus.NOT_FOUND, "There is no such page here.")
        fields = (
            ("ETag", file.etag),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", _policy(request)),
        )
        if file.etag in _tags(request):
            return Response(HTTPStatus.NOT_MODIFIED, fields=fields)
        return Response(HTTPStatus.OK, file.content, file.content_type, fields)


def _policy(request: Request) -> str:
    connect = "'self'"
    host = request.host
    # Not every browser takes 'self' to cover the WebSocket on this port.
    if _HOST.fullmatch(host):
        connect += f" ws://{host} wss://{host}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self';"
        f" connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _tags(request: Request) -> set[str]:
    fields = ",".join(request.get_all("if-none-match"))
    return {tag.strip().removeprefix("W/") for tag in fields.split(",")}
