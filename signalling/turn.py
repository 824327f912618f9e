"""TURN servers whose credentials are made for one peer and end by themselves.

coturn's ``use-auth-secret`` (draft-uberti-behave-turn-rest-00): the user name is the Unix time at
which it ends and the peer id, the password the base64 of an HMAC-SHA1 of that name. Whoever has
the secret can make them, so it stays between this server and the TURN servers of a region.

coturn asks for credentials when an address is allocated. What is allocated by then goes on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .messages import IceServer

log = logging.getLogger(__name__)

LIFETIME_S = 12 * 3600.0
"""How long credentials are good unless something else is asked for, in seconds.

They come with the welcome. A host uses them again for each viewer that needs a relay, as long as
it stays: this should be longer than a stream.
"""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_URL = re.compile(
    r"turns?:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?"
)

Secret = Callable[[], str]
"""Has the secret of now. Asked each time, so that it can be another one tomorrow."""


@dataclass(frozen=True, kw_only=True)
class TurnRegion:
    """The TURN servers of one place. Raises :class:`ValueError` naming the wrong field."""

    name: str
    """As clients and operators call it."""

    urls: tuple[str, ...]
    """RFC 7065: ``turn:HOST:3478?transport=udp``, ``turns:HOST:5349`` …"""

    secret: Secret = field(repr=False)
    """What the servers have as ``static-auth-secret``."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is not 1 to 32 letters, digits, - and _")
        if not self.urls:
            raise ValueError(f"urls: region {self.name} has none")
        for url in self.urls:
            if not _URL.fullmatch(url):
                raise ValueError(f"urls: takes turn:HOST:PORT?transport=udp, not {url!r}")


class TurnCredentials:
    """An :class:`.ice_servers.IceServerSource` that makes credentials for each peer.

    A client that names no region, or an unknown one, gets ``home``: the first one by default.
    Everyone gets ``static`` too, before those. ``issued`` is called for each credential. Raises
    :class:`ValueError` naming what is wrong.
    """

    def __init__(
        self,
        regions: Sequence[TurnRegion],
        *,
        static: Sequence[IceServer] = (),
        lifetime_s: float = LIFETIME_S,
        home: str = "",
        issued: Callable[[], None] = lambda: None,
    ) -> None:
        self._regions = {region.name: region for region in regions}
        if not regions:
            raise ValueError("regions: takes one at least")
        if len(self._regions) < len(regions):
            raise ValueError("regions: two have the same name")
        if not lifetime_s > 0:
            raise ValueError("lifetime_s: must be greater than 0")
        if home and home not in self._regions:
            raise ValueError(f"home: there is no region {home!r}")
        self._home = self._regions[home] if home else regions[0]
        self._static = list(static)
        self._lifetime_s = lifetime_s
        self._issued = issued
        self._without_secret: set[str] = set()

    def ice_servers(self, *, room: str, peer: str, now: float, region: str = "") -> list[IceServer]:
        chosen = self._regions.get(region, self._home)
        secret = chosen.secret()
        if not secret:
            # An empty key is everybody's.
            if chosen.name not in self._without_secret:
                log.error("No TURN credentials for region %s: it has no secret", chosen.name)
            self._without_secret.add(chosen.name)
            return list(self._static)
        self._without_secret.discard(chosen.name)
        username, credential = turn_credentials(secret, peer, now + self._lifetime_s)
        self._issued()
        return [*self._static, IceServer(list(chosen.urls), username, credential)]


def turn_credentials(secret: str, peer: str, until: float) -> tuple[str, str]:
    """User name and password, good until then (seconds of Unix time)."""
    username = f"{int(until)}:{peer}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def parse_regions(texts: Iterable[str], secret: Secret) -> tuple[TurnRegion, ...]:
    """Regions from ``NAME=URL`` words; a region has as many as it has URLs.

    ``secret`` gives the one secret of all regions, or ``NAME=SECRET`` words for each of them.
    Raises :class:`ValueError` in words.
    """
    urls: dict[str, list[str]] = {}
    for text in texts:
        name, equals, url = text.partition("=")
        if not equals or not _NAME.fullmatch(name) or not _URL.fullmatch(url):
            raise ValueError(f"a TURN region is NAME=turn:HOST:PORT?transport=udp, not {text!r}")
        urls.setdefault(name, []).append(url)
    return tuple(
        TurnRegion(name=name, urls=tuple(found), secret=_secret_of(name, urls.keys(), secret))
        for name, found in urls.items()
    )


def _secret_of(region: str, names: Iterable[str], secret: Secret) -> Secret:
    known = set(names)

    def current() -> str:
        words = secret().split()
        pairs = dict(word.split("=", 1) for word in words if word.partition("=")[0] in known)
        if pairs:
            return pairs.get(region, "")
        return words[0] if len(words) == 1 else ""

    return current
