"""Where the Redis of a :class:`.bus.RedisBus` is, and how it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

FORMS = (
    "redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
    " or redis+cluster://HOST:PORT,HOST:PORT (rediss… for TLS)"
)

_DEFAULT_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """How servers share rooms over Redis. Raises :class:`ValueError` naming the wrong field.

    All servers of one ``prefix`` should have the same times.
    """

    url: str = field(repr=False)
    """:data:`FORMS`, each with ``USER:PASSWORD@`` before the first host where Redis wants it, and
    ``/DATABASE`` after the rest (not with Cluster)."""

    ca_file: Path | None = None
    """The authorities (PEM) whose certificates Redis may show, with ``rediss``; ``None``: those of
    the system."""

    cert_file: Path | None = None
    """The certificate (PEM) that this server shows, where Redis asks for one, …"""

    key_file: Path | None = None
    """… and its key."""

    prefix: str = "playcast:"
    """How every key and channel begins: what the ACL user may touch."""

    lease_s: float = 5.0
    """How long the peers of a server that is not heard of stay in their rooms, in seconds."""

    tick_s: float = 0.5
    """How often leases are renewed and rooms compared with Redis, in seconds."""

    patience_s: float = 5.0
    """How long an event waits for Redis before it fails with ``BusUnavailable``, in seconds."""

    settle_s: float = 1.0
    """After Redis lost a room: how long newcomers wait for its peers to be put back, in seconds."""

    timeout_s: float = 1.0
    """How long Redis may take to connect or to answer before it counts as gone, in seconds."""

    window_s: float = 120.0
    """How long a room that no server has any more stays in Redis, in seconds: at least as long as
    a client that lost its server may take to come back."""

    snapshot_s: float = 10.0
    """How often a busy room's state is put into Redis, in seconds; its log goes back at least as
    far."""

    log_length: int = 1024
    """How many events of a room each server keeps for a Redis that loses them; a state is put into
    Redis after half as many."""

    def __post_init__(self) -> None:
        address = self.address
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path is None:
                continue
            if not address.tls:
                raise ValueError(f"{name}: is for TLS, rediss://")
            if not path.is_file():
                raise ValueError(f"{name}: {path} is not a file")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("key_file: a certificate and its key go together")
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", self.prefix):
            raise ValueError("prefix: takes 1 to 64 letters, digits and _ . : -")
        for name in (
            "lease_s", "tick_s", "patience_s", "settle_s", "timeout_s", "window_s", "snapshot_s",
            "log_length",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")
        if self.lease_s < 3 * self.tick_s:
            raise ValueError("lease_s: must be at least three times tick_s")

    @property
    def address(self) -> RedisAddress:
        return RedisAddress.parse(self.url)


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """A Redis URL, taken apart. ``str()`` has no password in it."""

    kind: str
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Raises :class:`ValueError`, which does not repeat the URL: it may hold a password."""
        parts = urlsplit(url)
        base, _, kind = parts.scheme.partition("+")
        kind = kind or "single"
        if base not in ("redis", "rediss") or kind not in _DEFAULT_PORTS:
            raise ValueError(f"url: takes {FORMS}")
        if parts.query or parts.fragment:
            raise ValueError(f"url: takes nothing after ? or #, but {FORMS}")
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        service, database = _path(parts, kind)
        address = cls(
            kind=kind,
            tls=base == "rediss",
            hosts=tuple(_host(text, _DEFAULT_PORTS[kind]) for text in hosts.split(",")),
            service=service,
            database=database,
            username=unquote(username) or None,
            password=unquote(password) or None,
        )
        if kind == "single" and len(address.hosts) > 1:
            raise ValueError("url: several hosts need redis+sentinel:// or redis+cluster://")
        return address

    def __str__(self) -> str:
        scheme = ("rediss" if self.tls else "redis") + (
            "" if self.kind == "single" else "+" + self.kind
        )
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")


def _path(parts: SplitResult, kind: str) -> tuple[str, int]:
    words = [word for word in parts.path.split("/") if word]
    service = ""
    if kind == "sentinel":
        if not words:
            raise ValueError("url: redis+sentinel:// needs /SERVICE, the name Sentinel knows")
        service = unquote(words.pop(0))
    database = words.pop(0) if words else "0"
    if words or not re.fullmatch(r"[0-9]{1,4}", database):
        raise ValueError(f"url: the database is a number; takes {FORMS}")
    if kind == "cluster" and int(database):
        raise ValueError("url: a cluster has no numbered databases")
    return service, int(database)


def _host(text: str, default_port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/]+))(?::([0-9]{1,5}))?", text)
    if found is None or int(found[3] or 1) > 65535:
        raise ValueError(f"url: takes {FORMS}")
    return found[1] or found[2], int(found[3] or default_port)
