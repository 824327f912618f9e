"""What a plain aiortc sender keeps to itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from aiortc import RTCRtpSender


def on_keyframe_request(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call back when the remote asks a plain aiortc sender for a keyframe (PLI, FIR).

    aiortc keeps the request for an encoder of its own; a track that hands over packets, encoded
    elsewhere, never hears of it.
    """
    remember = sender._send_keyframe

    def asked() -> None:
        remember()
        callback()

    cast(Any, sender)._send_keyframe = asked
