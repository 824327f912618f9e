"""One link to a signalling server: how it is opened, and what its end means."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from peer.signalling_settings import SignallingClientSettings
from signalling.messages import (
    CLOSE_CODES,
    MAX_SERVER_MESSAGE_BYTES,
    SUBPROTOCOL,
    Error,
    ErrorCode,
)

# At DEBUG the library logs every frame: tokens, session descriptions, addresses.
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)

FINAL: frozenset[ErrorCode] = frozenset(
    {
        "bad-message",
        "bad-token",
        "token-expired",
        "forbidden",
        "not-admitted",
        "kicked",
        "banned",
        "replaced",
        "room-full",
        "room-locked",
        "version",
        "too-large",
    }
)
"""Errors that end a connection for good, where the server's word on trying again got lost."""

UNANSWERED = 1011
"""The close code that our side sends after a ping without an answer: the library's."""

_ELSEWHERE: frozenset[ErrorCode] = frozenset({"shutting-down", "internal", "timeout", "room-full"})
"""Errors that another server may not have."""

# Of the errors that share a close code, the first speaks for all.
_CODE_OF_CLOSE: dict[int, ErrorCode] = {n: code for code, n in reversed(CLOSE_CODES.items())}


class SignallingRefused(Exception):
    """The server will not have us, and trying again does not help."""

    def __init__(self, code: ErrorCode | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        """The protocol's error code; ``None`` when it is no Playcast server that answers."""


class Lost(Exception):
    """The connection is gone or did not come about; another may do better."""

    def __init__(self, why: str, *, elsewhere: bool = False, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.elsewhere = elsewhere
        """Another server may do better."""
        self.after_s = after_s
        """The server asks for so long a pause."""


async def open_link(url: str, settings: SignallingClientSettings) -> ClientConnection:
    """A WebSocket to that server. Raises :class:`Lost` or :class:`SignallingRefused`."""
    host = urlsplit(url).hostname or ""
    try:
        return await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            user_agent_header=None,
            open_timeout=settings.open_timeout_s,
            ping_interval=settings.ping_interval_s,
            ping_timeout=settings.ping_interval_s,
            close_timeout=2.0,
            max_size=2 * MAX_SERVER_MESSAGE_BYTES,
            logger=_library_log,
            proxy=None if host in ("127.0.0.1", "::1", "localhost") else True,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        text = f"{url} answers with HTTP status {status}"
        if status < 500 and status not in (408, 429):
            text += ": is the address right? It is the WebSocket's, as wss://HOST/ws"
            raise SignallingRefused(None, text) from error
        raise Lost(text, elsewhere=True) from error
    except ssl.SSLCertVerificationError as error:
        text = f"{url} has no valid certificate: {error.verify_message}"
        raise SignallingRefused(None, text) from error
    except InvalidHandshake as error:
        text = f"{url} is not a Playcast server: {error}"
        raise SignallingRefused(None, text) from error
    except TimeoutError as error:
        raise Lost(f"{url} does not answer", elsewhere=True) from error
    except OSError as error:
        text = f"cannot reach {url}: {words_of(error)}"
        raise Lost(text, elsewhere=True) from error


@dataclass(frozen=True, slots=True)
class End:
    """Why a link has ended."""

    code: ErrorCode | None
    """As the server says; ``None``: it says nothing that is known here."""
    text: str
    retry: bool
    """Trying again may help, ``after_s`` seconds from now at the earliest."""
    after_s: float = 0.0
    silent: bool = False
    """The server has answered no heartbeat."""

    @property
    def elsewhere(self) -> bool:
        """Another server may do better."""
        return self.silent or self.code in _ELSEWHERE


def end_of(closed: ConnectionClosed, refusal: Error | None) -> End:
    """What the end of a link says. ``refusal`` is the last error that was no answer."""
    number = closed.rcvd.code if closed.rcvd is not None else None
    if refusal is not None and CLOSE_CODES[refusal.code] == number:
        return End(refusal.code, refusal.message, refusal.retry, refusal.retry_after_s)
    code = None if number is None else _CODE_OF_CLOSE.get(number)
    text = f"the server closed the connection ({code})" if code else "the connection broke"
    if closed.rcvd_then_sent is False:
        text = "another connection is wanted"
    silent = closed.rcvd is None and closed.sent is not None and closed.sent.code == UNANSWERED
    if silent:
        text = "the server has fallen silent"
    return End(code, text, retry=code not in FINAL, silent=silent)


def words_of(error: OSError) -> str:
    """Why a connection has not come about, in the system's words."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "there is no such name"
    if isinstance(error, ssl.SSLError):
        return f"it speaks no TLS that we do ({error.reason or error})"
    if error.errno:
        # asyncio's own text of a refused connection is "Connect call failed ('127.0.0.1', 8080)".
        return os.strerror(error.errno)
    # A name with several addresses: its text has a sentence for each, and no number of its own.
    numbers = dict.fromkeys(map(int, re.findall(r"\[Errno (\d+)\]", str(error))))
    return ", ".join(map(os.strerror, numbers)) or str(error)
