"""What ``playcast view`` says when there is no picture: why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peer.signalling_client import SignallingRefused
    from peer.view_link import ViewLink
    from peer.viewing import NoPicture


def advice_on(error: NoPicture, link: ViewLink) -> str:
    """Why there is no picture, and what to do."""
    from peer.viewing import ViewingState

    reason = str(error)
    match error.state:
        case ViewingState.JOINING:
            text = f"{reason}. Does playcast host still run? Its link is another with each start"
        case ViewingState.WAITING:
            text = (
                f"{reason} (room {link.room} of {link.page}). Start playcast host, or --wait longer"
            )
        case ViewingState.CONNECTING:
            text = (
                f"no way to the host: {reason}. Both sides must reach each other by UDP: see --bind"
                " here, and --announce and --turn of playcast host"
            )
        case _:
            text = f"{reason}. See what playcast host says"
    return f"the picture is gone: {text}" if error.seen else text


def refusal_words(error: SignallingRefused) -> str:
    """Why the server will not have us, and what to do."""
    match error.code:
        case "bad-token" | "token-expired" | "forbidden":
            return (
                f"the server refuses the link: {error}. Take the link that playcast host prints now"
            )
        case "version":
            return f"{error}. Update the older of playcast here and there"
        case _:
            return str(error)


def os_error_words(error: OSError) -> str:
    return error.strerror or str(error)
