"""Where the Redis of a :class:`.bus.RedisBus` is, and the connections to it.

One client for commands and one for listening, over a single server, Sentinel or Cluster. redis-py
retries nothing here: it would take seconds to say that Redis is gone, and would subscribe again
without a word about what was missed meanwhile. The bus does both itself.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Connection, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

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


class RedisClient(Protocol):
    """What the bus needs of Redis."""

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script. Raises :class:`redis.exceptions.RedisError` or :class:`OSError`."""

    async def execute(self, *words: Any) -> Any:
        """Run one command, as redis-py understands its answer. Raises as :meth:`run`."""

    async def listener(self) -> Connection:
        """A connected connection that nobody else uses, of a server that hears every channel.

        The caller's to disconnect.
        """

    async def close(self) -> None: ...


def open_client(settings: RedisSettings) -> RedisClient:
    """A client that has not connected yet."""
    address = settings.address
    common: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        # CLIENT SETINFO, which Redis 7.0 does not know and an ACL user may not have.
        "driver_info": None,
        **_tls(settings),
    }
    options = {**common, "username": address.username, "password": address.password}
    if address.kind == "cluster":
        return _ClusterClient(address, options)
    options["db"] = address.database
    if address.kind == "sentinel":
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(address.hosts), sentinel_kwargs=common, **options
        )
        return _SingleClient(sentinel.master_for(address.service), sentinel.sentinels)
    host, port = address.hosts[0]
    return _SingleClient(Redis(host=host, port=port, **options))


def _tls(settings: RedisSettings) -> dict[str, Any]:
    if not settings.address.tls:
        return {}
    files = {
        "ssl_ca_certs": settings.ca_file,
        "ssl_certfile": settings.cert_file,
        "ssl_keyfile": settings.key_file,
    }
    return {
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        **{name: str(path) for name, path in files.items() if path is not None},
    }


class _SingleClient:
    """One server, or the one that Sentinel names."""

    def __init__(self, redis: Redis, sentinels: Sequence[Redis] = ()) -> None:
        self._redis = redis
        self._sentinels = sentinels

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return await _run(self._redis, sha, script, keys, arguments)

    async def execute(self, *words: Any) -> Any:
        return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]

    async def listener(self) -> Connection:
        return await _connect(self._redis)

    async def close(self) -> None:
        for redis in (self._redis, *self._sentinels):
            await redis.aclose()
            await redis.connection_pool.disconnect()


class _ClusterClient:
    """A cluster: scripts go to the node of their keys; any node hears what any other publishes."""

    def __init__(self, address: RedisAddress, options: dict[str, Any]) -> None:
        self._options = options
        self._cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            **options,
        )

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return await _run(self._cluster, sha, script, keys, arguments)

    async def execute(self, *words: Any) -> Any:
        return await self._cluster.execute_command(*words)

    async def listener(self) -> Connection:
        await self._cluster.initialize()
        nodes = self._cluster.get_primaries()
        node = random.choice(nodes)
        port = int(node.port)
        return await _connect(Redis(host=node.host, port=port, **self._options))

    async def close(self) -> None:
        await self._cluster.aclose()
        # Which does nothing between two looks at the topology, and leaves their connections open.
        for nodes in ("nodes_cache", "startup_nodes"):
            await self._cluster.nodes_manager.aclose(nodes)


async def _connect(redis: Redis) -> Connection:
    connection: Connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


async def _run(
    redis: Redis | RedisCluster, sha: str, script: str, keys: list[str], arguments: list[Any]
) -> Any:
    try:
        return await redis.evalsha(sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await redis.eval(script, len(keys), *keys, *arguments)
