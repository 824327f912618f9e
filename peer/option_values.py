"""The values that options take: each function reads one, or says in words what it takes."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable

from peer.signalling_settings import check_server_url
from signalling.messages import IceServer


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number in a range."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text[:12]) <= most):
            raise argparse.ArgumentTypeError(f"takes {least}..{most}, not {text!r}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """Seconds, greater than 0."""
    found = re.fullmatch(r"\d{1,7}(?:\.\d{1,6})?", text)
    if found is None or not float(text):
        raise argparse.ArgumentTypeError(f"takes seconds greater than 0, not {text!r}")
    return float(text)


def bitrate(text: str) -> int:
    """Bits a second, as 8M, 500k or 1000000."""
    found = re.fullmatch(r"(\d{1,10}(?:\.\d{1,6})?)([kKM]?)", text)
    bits = float(found[1]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6}[found[2]] if found else 0
    if not 100_000 <= bits <= 500_000_000:
        raise argparse.ArgumentTypeError(f"takes 100k to 500M bits a second, not {text!r}")
    return round(bits)


def size(text: str) -> tuple[int, int]:
    """Pixels, as 1280x720."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (320 <= width <= 7680 and 180 <= height <= 4320) or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(
            f"takes WIDTHxHEIGHT, even, from 320x180 to 7680x4320, not {text!r}"
        )
    return width, height


def region(text: str) -> tuple[int, int, int, int]:
    """A rectangle of pixels, as 1280x720+100+50: x, y, width, height."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})", text)
    if found is None or not int(found[1]) or not int(found[2]):
        raise argparse.ArgumentTypeError(f"takes WIDTHxHEIGHT+X+Y in pixels, not {text!r}")
    return int(found[3]), int(found[4]), int(found[1]), int(found[2])


def window(text: str) -> int:
    """An X window's id."""
    try:
        number = int(text, 0)
    except ValueError:
        number = 0
    if not 0 < number < 1 << 32:
        raise argparse.ArgumentTypeError(f"takes a window's id, as 0x1c00007, not {text!r}")
    return number


def address(text: str) -> str:
    """An IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes an IP address, not {text!r}") from None
    return text


def server_url(text: str) -> str:
    """The WebSocket of a signalling server."""
    try:
        check_server_url(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"takes ws://HOST/ws or wss://HOST/ws, not {text!r}"
        ) from None
    return text


def room(text: str) -> str:
    """A room's name."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise argparse.ArgumentTypeError("takes 1 to 64 letters, digits, - and _")
    return text


def title(text: str) -> str:
    """What is played, in a few words."""
    if len(text) > 120 or not text.isprintable():
        raise argparse.ArgumentTypeError("takes at most 120 characters, in one line")
    return text


def name(text: str) -> str:
    """What others in a room call somebody."""
    if len(text) > 64 or not text.isprintable():
        raise argparse.ArgumentTypeError("takes at most 64 characters, in one line")
    return text


def turn_region(text: str) -> str:
    """A region of TURN servers."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,32}", text):
        raise argparse.ArgumentTypeError("takes at most 32 letters, digits, - and _")
    return text


def control(text: str) -> str:
    """What one member at a time holds."""
    if not re.fullmatch(r"pad:[1-8]|keyboard|mouse", text):
        raise argparse.ArgumentTypeError(f"takes pad:1 to pad:8, keyboard or mouse, not {text!r}")
    return text


def ice_server(text: str) -> tuple[str, IceServer]:
    """A STUN or TURN server: the text, and what it says."""
    try:
        return text, IceServer.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
