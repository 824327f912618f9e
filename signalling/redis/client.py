"""The connections to Redis: who serves a room's keys, over a single server, Sentinel or Cluster.

Scripts and messages go by pipelines of our own; redis-py says where, and does what is rare.
It retries nothing here: it would take seconds to say that Redis is gone, and would subscribe again
without a word about what was missed meanwhile. The bus does both itself.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, SlotNotCoveredError

from .pipeline import Access, Listener, NotServed, Pipeline
from .settings import RedisSettings

Heard = Callable[[bytes, bytes], None]


class RedisClient(Protocol):
    """What the bus needs of Redis. All raise :class:`redis.exceptions.RedisError` or
    :class:`OSError`.
    """

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script."""

    async def execute(self, *words: Any) -> Any:
        """Run one command, as redis-py understands its answer."""

    async def listener(self, heard: Heard) -> Listener:
        """A connection to a server that hears every channel: the caller's, to close."""

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
    access = Access(
        timeout_s=settings.timeout_s,
        tls=_tls_context(settings),
        username=address.username,
        password=address.password,
        database=address.database,
    )
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return _ClusterClient(RedisCluster(startup_nodes=nodes, **options), access)
    options["db"] = address.database
    if address.kind == "sentinel":
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(address.hosts), sentinel_kwargs=common, **options
        )

        async def primary() -> tuple[str, int]:
            host, port = await sentinel.discover_master(address.service)
            return host, int(port)

        redis = sentinel.master_for(address.service)
        return _SingleClient(redis, access, primary, sentinel.sentinels)
    host, port = address.hosts[0]

    async def always() -> tuple[str, int]:
        return host, port

    return _SingleClient(Redis(host=host, port=port, **options), access, always)


def _tls(settings: RedisSettings) -> dict[str, Any]:
    """For redis-py."""
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


def _tls_context(settings: RedisSettings) -> ssl.SSLContext | None:
    """For pipelines: the same."""
    if not settings.address.tls:
        return None
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file is not None:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


class _Scripts:
    """Runs scripts over a pipeline that is opened when needed, and again after it was lost."""

    def __init__(self, where: Callable[[], Awaitable[tuple[str, int]]], access: Access) -> None:
        self._where = where
        self._access = access
        self._opening = asyncio.Lock()
        self._pipeline: Pipeline | None = None

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        pipeline = self._pipeline
        if pipeline is None or pipeline.lost.is_set():
            pipeline = await self._open()
        try:
            return await pipeline.send("EVALSHA", sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await pipeline.send("EVAL", script, len(keys), *keys, *arguments)
        except NotServed as error:
            pipeline.close(error)  # the next time: where is it now?
            raise

    async def _open(self) -> Pipeline:
        async with self._opening:
            if self._pipeline is None or self._pipeline.lost.is_set():
                host, port = await self._where()
                pipeline = Pipeline(self._access.timeout_s)
                self._pipeline = await pipeline.connect(host, port, self._access)
            return self._pipeline

    def close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()


class _SingleClient:
    """One server, or the one that Sentinel names."""

    def __init__(
        self,
        redis: Redis,
        access: Access,
        where: Callable[[], Awaitable[tuple[str, int]]],
        sentinels: Sequence[Redis] = (),
    ) -> None:
        self._redis = redis
        self._access = access
        self._where = where
        self._sentinels = sentinels
        self._scripts = _Scripts(where, access)

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return await self._scripts.run(sha, script, keys, arguments)

    async def execute(self, *words: Any) -> Any:
        return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]

    async def listener(self, heard: Heard) -> Listener:
        host, port = await self._where()
        return await Listener(self._access.timeout_s, heard).connect(host, port, self._access)

    async def close(self) -> None:
        self._scripts.close()
        for redis in (self._redis, *self._sentinels):
            await redis.aclose()
            await redis.connection_pool.disconnect()


class _ClusterClient:
    """A cluster: scripts go to the node of their keys; any node hears what any other publishes."""

    def __init__(self, cluster: RedisCluster, access: Access) -> None:
        self._cluster = cluster
        self._access = access
        self._nodes: dict[tuple[str, int], _Scripts] = {}

    async def run(self, sha: str, script: str, keys: list[str], arguments: list[Any]) -> Any:
        await self._cluster.initialize()
        try:
            node = self._cluster.get_node_from_key(keys[0])
            assert node is not None, "is of replicas only"
            scripts = self._scripts_of(str(node.host), int(node.port))
            return await scripts.run(sha, script, keys, arguments)
        except (SlotNotCoveredError, RedisConnectionError, OSError):
            # redis-py looks where the key is now. A script that ran after all does nothing twice.
            try:
                return await self._cluster.evalsha(sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await self._cluster.eval(script, len(keys), *keys, *arguments)

    def _scripts_of(self, host: str, port: int) -> _Scripts:
        async def there() -> tuple[str, int]:
            return host, port

        scripts = self._nodes.get((host, port))
        if scripts is None:
            scripts = self._nodes[host, port] = _Scripts(there, self._access)
        return scripts

    async def execute(self, *words: Any) -> Any:
        return await self._cluster.execute_command(*words)

    async def listener(self, heard: Heard) -> Listener:
        await self._cluster.initialize()
        node = random.choice(self._cluster.get_primaries())
        listener = Listener(self._access.timeout_s, heard)
        return await listener.connect(str(node.host), int(node.port), self._access)

    async def close(self) -> None:
        for scripts in self._nodes.values():
            scripts.close()
        await self._cluster.aclose()
        # Which does nothing between two looks at the topology, and leaves their connections open.
        for nodes in ("nodes_cache", "startup_nodes"):
            await self._cluster.nodes_manager.aclose(nodes)
