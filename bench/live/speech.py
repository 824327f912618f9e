"""What the processes of a live run say to each other, through their parent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LiveSettings:
    """What a process is told on its command line."""

    address: str
    """Its own."""
    width: int
    height: int
    fps: int
    bitrate: int
    """Bits a second that the encoder may have at most."""
    controller: str = "train"
    """Ours: train or gcc."""
    clip: bool = False
    """The picture is the clip (picture.py), not the endless pattern."""

    def to_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_arguments(cls) -> LiveSettings:
        """This process's."""
        return cls(**json.loads(sys.argv[-1]))


def say_sdp(kind: str, sdp: str) -> None:
    """A session description, for the other side."""
    print("sdp", json.dumps({"type": kind, "sdp": sdp}), flush=True)


async def hear_sdp() -> str:
    """The other side's."""
    line = await asyncio.to_thread(sys.stdin.readline)
    return str(json.loads(line)["sdp"])


async def stopped() -> None:
    """Until the parent has seen enough."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def say_result(result: dict[str, Any]) -> None:
    """The last line."""
    print(json.dumps(result), flush=True)
