"""Why a server will not have a host: each reason names the next step."""

from __future__ import annotations

import pytest

from peer.host_words import refusal_words
from peer.signalling_client import SignallingRefused
from signalling.messages import ErrorCode


@pytest.mark.parametrize(
    ("code", "renewable", "said"),
    [
        ("bad-token", False, "the server refuses the token: why. It takes those of its own issuer"),
        ("token-expired", False, "why. With --token-command, --token-file or --login there is a"),
        ("token-expired", True, "why. What --token-command, --token-file or --login gives has"),
        ("forbidden", False, "why. Its bearer must be allowed to host, and in this room"),
        ("room-taken", False, "why. End the playcast host that streams there, or take another"),
        ("kicked", False, "an admin has put you out of room den: why"),
        ("replaced", True, "another playcast host goes on with this session: why"),
        ("version", False, "why. Update the older of playcast here and there"),
        (None, False, "why"),
    ],
)
def test_each_reason_names_the_next_step(
    code: ErrorCode | None, renewable: bool, said: str
) -> None:
    error = SignallingRefused(code, "why")
    assert refusal_words(error, "den", renewable=renewable).startswith(said)
