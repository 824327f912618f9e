"""What the media core raises.

    Exception
    ├── OSError
    │   └── NativeError              a call failed: errno says how, strerror says what in words
    │       ├── InvalidArgument      misuse (EINVAL); a ValueError too
    │       └── StreamEnded          a tap's stream or a reception's peer is closed (EPIPE); an
    │                                EOFError too
    └── ValueError
        └── HandleClosed             a hub, peer, source, stream … was used after its close

Bad input from a network never raises: it is counted in HubStats, PeerStats and ReceptionStats.
"""

from __future__ import annotations

import errno


class NativeError(OSError):
    """A call into the core failed. `errno` is the reason, `strerror` the core's own words."""


class InvalidArgument(NativeError, ValueError):
    """The caller passed something that the call does not take; `strerror` names it."""


class StreamEnded(NativeError, EOFError):
    """The stream or the peer was closed: nothing more will come out of this tap or reception."""


class HandleClosed(ValueError):
    """The object was closed, or what it stood for now belongs to another object."""


_BY_ERRNO: dict[int, type[NativeError]] = {
    errno.EINVAL: InvalidArgument,
    errno.EPIPE: StreamEnded,
}


def error_for(code: int, text: str) -> NativeError:
    """The exception for errno `code` (positive) with the core's `text` (may be empty)."""
    kind = _BY_ERRNO.get(code, NativeError)
    return kind(code, text or errno.errorcode.get(code, f"errno {code}"))
