"""The server's answer to WebSocket's opening handshake (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib

from .http11 import Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(request: Request) -> str | None:
    """``Sec-WebSocket-Accept`` for an opening handshake (RFC 6455 section 4.2.2); ``None``: the
    request is none of version 13.
    """
    key = request.get("sec-websocket-key")
    if (
        request.method != "GET"
        or not request.has_token("upgrade", "websocket")
        or not request.has_token("connection", "upgrade")
        or request.get("sec-websocket-version") != "13"
        or key is None
    ):
        return None
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
