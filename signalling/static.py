"""The web viewer's files over HTTP, from memory.

All files are read once, at the start, and found by their exact path in a table: no path of a
request ever reaches the file system.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

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
        """The answer to a request that is not for a WebSocket."""
        path = request.path.partition("?")[0]
        if request.method not in ("GET", "HEAD"):
            extra = [("Allow", "GET, HEAD")]
            return _response(request, HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD only\n", extra)
        if path == "/healthz":
            return _response(request, HTTPStatus.OK, b"ok\n")
        file = self._files.get(path)
        if file is None:
            return _response(request, HTTPStatus.NOT_FOUND, b"There is no such page here.\n")
        extra = [("ETag", file.etag), ("Content-Security-Policy", _policy(request))]
        if file.etag in _tags(request):
            return _response(request, HTTPStatus.NOT_MODIFIED, b"", extra)
        return _response(request, HTTPStatus.OK, file.content, extra, file.content_type)


def refuse(request: Request, status: HTTPStatus, text: str) -> Response:
    """A response that says why a request was refused."""
    return _response(request, status, f"{text}\n".encode())


def _response(
    request: Request,
    status: HTTPStatus,
    body: bytes,
    extra: Iterable[tuple[str, str]] = (),
    content_type: str = "text/plain; charset=utf-8",
) -> Response:
    headers = Headers(
        [
            ("Date", email.utils.formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", content_type),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            # Together these isolate the page, which also gives it the finer performance.now().
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            *extra,
        ]
    )
    if status == HTTPStatus.NOT_MODIFIED:
        del headers["Content-Length"]
        del headers["Content-Type"]
    return Response(status, status.phrase, headers, b"" if request.method == "HEAD" else body)


def _policy(request: Request) -> str:
    connect = "'self'"
    hosts = request.headers.get_all("Host")
    # Not every browser takes 'self' to cover the WebSocket on this port.
    if len(hosts) == 1 and _HOST.fullmatch(hosts[0]):
        connect += f" ws://{hosts[0]} wss://{hosts[0]}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self';"
        f" connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _tags(request: Request) -> set[str]:
    fields = ",".join(request.headers.get_all("If-None-Match"))
    return {tag.strip().removeprefix("W/") for tag in fields.split(",")}
