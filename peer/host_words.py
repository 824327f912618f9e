"""What ``playcast host`` says when a server will not have it: why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peer.signalling_client import SignallingRefused


def refusal_words(error: SignallingRefused, room: str, *, renewable: bool) -> str:
    """``renewable``: the tokens come from where there are fresh ones."""
    match error.code:
        case "bad-token":
            return f"the server refuses the token: {error}. It takes those of its own issuer"
        case "token-expired" if renewable:
            return f"{error}. What --token-command, --token-file or --login gives has ended already"
        case "token-expired":
            return (
                f"{error}. With --token-command, --token-file or --login there is a fresh one"
                " whenever one ends"
            )
        case "forbidden":
            return (
                f"{error}. Its bearer must be allowed to host, and in this room: see --room, and"
                " --host-role of playcast serve"
            )
        case "room-taken":
            return f"{error}. End the playcast host that streams there, or take another --room"
        case "kicked" | "banned":
            return f"an admin has put you out of room {room}: {error}"
        case "replaced":
            return f"another playcast host goes on with this session: {error}"
        case "version":
            return f"{error}. Update the older of playcast here and there"
        case _:
            return str(error)
