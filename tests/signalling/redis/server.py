"""Real Redis servers for tests: one, Sentinels over two, or a cluster, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

DEADLINE_S = 20.0


def free_port() -> int:
    """A port that is free, and whose cluster bus port (+ 10000) is a port too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55000:
            return port


def until(true: Callable[[], bool], what: str) -> None:
    """Poll another process, which cannot tell us, until ``true`` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(redis.RedisError):
            if true():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {DEADLINE_S} s: {what}")
        time.sleep(0.02)


class RedisServer:
    """One redis-server process in ``folder``. Keeps nothing over a restart unless told to."""

    def __init__(self, folder: Path, *options: str, port: int = 0, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self._sentinel = sentinel
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> RedisServer:
        config = self._folder / "redis.conf"
        if not config.exists():
            common = ["bind 127.0.0.1", f"port {self.port}", "daemonize no"]
            kept = [] if self._sentinel else ['save ""']
            config.write_text("\n".join([*common, *kept, *self._options]) + "\n")
        words = ["redis-server", str(config), *(["--sentinel"] if self._sentinel else [])]
        with (self._folder / "redis.log").open("ab") as output:
            self.process = subprocess.Popen(
                words, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT
            )
        until(self._listens, f"redis-server answers, see {self._folder}/redis.log")
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """As kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, protocol=2)


@contextlib.contextmanager
def single(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    try:
        yield server.start()
    finally:
        server.kill()


@contextlib.contextmanager
def sentinels(folder: Path) -> Iterator[tuple[str, RedisServer, RedisServer]]:
    """Three Sentinels over a primary and a replica: the URL, the primary, the replica."""
    primary = RedisServer(folder / "primary")
    replica = RedisServer(folder / "replica", f"replicaof 127.0.0.1 {primary.port}")
    watchers = [
        RedisServer(
            folder / f"sentinel{i}",
            f"sentinel monitor games 127.0.0.1 {primary.port} 2",
            "sentinel down-after-milliseconds games 500",
            "sentinel failover-timeout games 3000",
            sentinel=True,
        )
        for i in range(3)
    ]
    try:
        for server in (primary, replica, *watchers):
            server.start()
        for watcher in watchers:
            with watcher.client() as client:
                until(lambda c=client: _sees(c), "the Sentinels know each other and the replica")
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        yield f"redis+sentinel://{hosts}/games", primary, replica
    finally:
        for server in (*watchers, replica, primary):
            server.kill()


def _sees(client: redis.Redis) -> bool:
    words = client.execute_command("SENTINEL", "MASTER", "games")
    state = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
    found = {str(k if isinstance(k, str) else k.decode()): v for k, v in state.items()}
    return int(found["num-other-sentinels"]) == 2 and int(found["num-slaves"]) == 1


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[RedisServer]]]:
    """Three nodes without replicas: the URL and the nodes."""
    nodes = [
        RedisServer(folder / f"node{i}", "cluster-enabled yes", "cluster-node-timeout 2000")
        for i in range(3)
    ]
    try:
        for node in nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S * 2)
        for node in nodes:
            with node.client() as client:
                until(lambda c=client: _is_whole(c), "the cluster is whole")
        yield "redis+cluster://" + ",".join(addresses), nodes
    finally:
        for node in nodes:
            node.kill()


def _is_whole(client: redis.Redis) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    text = (
        info
        if isinstance(info, dict)
        else dict(line.split(":", 1) for line in info.decode().split() if ":" in line)
    )
    return text["cluster_state"] == "ok" and text["cluster_known_nodes"] == "3"
