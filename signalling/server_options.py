"""The options of ``playcast serve`` that say how the server meets the network."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .identity_options import UsageError
from .limits import Limits, parse_networks
from .tls import TlsFiles

_LIMITS = ("max_connections", "max_connections_per_address", "max_rooms")


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add them; :func:`server_parts` reads them."""
    tls = parser.add_argument_group("encryption", "without these, put a proxy with TLS in front")
    tls.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="certificate chain in PEM; read anew on change",
    )
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key in PEM")

    network = parser.add_argument_group("who is believed, and who may look")
    network.add_argument(
        "--proxy",
        action="append",
        metavar="NETWORK",
        help="proxies in front, as 10.0.0.0/8, whose X-Forwarded-For is believed; repeatable",
    )
    network.add_argument(
        "--metrics-from",
        action="append",
        metavar="NETWORK",
        help="who may read /metrics (this machine); repeatable",
    )

    limits = parser.add_argument_group("limits")
    default = Limits()
    for name, text in zip(
        _LIMITS,
        (
            "connections in all",
            "connections from one address (of IPv6: one /64)",
            "rooms with clients of this server",
        ),
        strict=True,
    ):
        limits.add_argument(
            f"--{name.replace('_', '-')}",
            type=_count,
            metavar="N",
            help=f"{text} ({getattr(default, name)})",
        )

    end = parser.add_argument_group("coming back")
    end.add_argument(
        "--resume-window",
        type=_seconds,
        metavar="SECONDS",
        help="how long the seat of a client is kept whose connection is lost (30)",
    )
    end.add_argument(
        "--drain",
        type=_seconds,
        metavar="SECONDS",
        help="how long it may take, after SIGTERM, to send the clients to other servers (30);"
        " a second signal ends at once",
    )


def server_parts(options: argparse.Namespace, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of :class:`.settings.SignallingSettings`: ``parts``, and in their place what the
    options say.

    Raises :class:`.identity_options.UsageError`, or :class:`.tls.TlsError`.
    """
    said = dict(parts)
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if options.tls_cert is not None:
        said["tls"] = TlsFiles(options.tls_cert, options.tls_key)
    for option, field in (("proxy", "proxies"), ("metrics_from", "metrics_networks")):
        texts = getattr(options, option)
        if texts:
            try:
                said[field] = parse_networks(texts)
            except ValueError as error:
                raise UsageError(f"--{option.replace('_', '-')}: {error}") from None
    limits = {name: getattr(options, name) for name in _LIMITS if getattr(options, name)}
    if limits:
        said["limits"] = dataclasses.replace(said.get("limits", Limits()), **limits)
    for option, field in (("resume_window", "resume_window_s"), ("drain", "drain_s")):
        if getattr(options, option) is not None:
            said[field] = getattr(options, option)
    return said


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"takes a number from 1, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"takes seconds, more than 0, not {text!r}")
    return float(text)
