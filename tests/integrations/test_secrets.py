"""Rotation is picked up live; a source that fails costs nobody the value they have."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import pytest

from integrations.secrets import (
    MAX_SECRET_BYTES,
    DirectorySecrets,
    EnvironmentSecrets,
    FileSecrets,
    FixedSecrets,
    Secrets,
    SecretUnavailable,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Vault:
    """A source as a service would be: versions, outages, a lifetime of its own."""

    lifetime_s = 300.0

    def __init__(self) -> None:
        self.value: str | None = "v1"
        self.fails = False
        self.reads = 0

    async def read(self, name: str) -> str | None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.fails:
            raise SecretUnavailable("the vault does not answer")
        return self.value


async def test_a_replaced_file_is_picked_up(tmp_path: Path):
    (tmp_path / "turn__secret").write_text("one\n")
    clock = Clock()
    secrets = Secrets([DirectorySecrets(tmp_path)], clock=clock)
    secret = await secrets.get("turn.secret")
    seen: list[str] = []
    secret.subscribe(seen.append)
    assert secret.current() == "one"
    (tmp_path / "staged").write_text("two\n")
    (tmp_path / "staged").replace(tmp_path / "turn__secret")
    clock.now += DirectorySecrets.lifetime_s
    await secrets.poll()
    assert (secret.current(), seen) == ("two", ["two"])
    await secrets.poll()
    assert seen == ["two"]


async def test_a_file_rewritten_with_the_same_size_and_times_is_picked_up(tmp_path: Path):
    path = tmp_path / "key"
    path.write_text("aaaa")
    times = path.stat()
    clock = Clock()
    secrets = Secrets([FileSecrets({"key": path})], clock=clock)
    secret = await secrets.get("key")
    path.write_text("bbbb")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    clock.now += 2
    await secrets.poll()
    assert secret.current() == "bbbb"


async def test_a_moved_link_is_picked_up_as_kubernetes_moves_it(tmp_path: Path):
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "redis__url").write_text(f"redis://{version}")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "redis__url").symlink_to("..data/redis__url")
    clock = Clock()
    secrets = Secrets([DirectorySecrets(tmp_path)], clock=clock)
    secret = await secrets.get("redis.url")
    (tmp_path / "..next").symlink_to("2")
    (tmp_path / "..next").replace(tmp_path / "..data")
    clock.now += 2
    await secrets.poll()
    assert secret.current() == "redis://2"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * (MAX_SECRET_BYTES + 1)])
async def test_a_file_that_cannot_be_used_leaves_the_last_value(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "key"
    path.write_text("good")
    clock = Clock()
    secrets = Secrets([FileSecrets({"key": path})], clock=clock)
    secret = await secrets.get("key")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for _ in range(3):
        clock.now += 2
        await secrets.poll()
    assert secret.current() == "good"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    path.write_text("better")
    clock.now += 2
    await secrets.poll()
    assert secret.current() == "better"


async def test_the_first_source_that_has_it_gives_it(tmp_path: Path):
    environment = {"PLAYCAST_REDIS__URL": "from-environment", "PLAYCAST_EMPTY": ""}
    (tmp_path / "redis__url").write_text("from-directory")
    (tmp_path / "turn__secret").write_text("from-directory")
    secrets = Secrets(
        [
            EnvironmentSecrets(environment),
            DirectorySecrets(tmp_path),
            FixedSecrets({"redis.url": "from-file", "host.token": "from-file"}),
        ]
    )
    found = {
        name: (await secrets.get(name)).current()
        for name in ("redis.url", "turn.secret", "host.token")
    }
    assert found == {
        "redis.url": "from-environment",
        "turn.secret": "from-directory",
        "host.token": "from-file",
    }
    with pytest.raises(SecretUnavailable):
        await secrets.get("empty")


async def test_a_source_is_asked_no_more_often_than_it_wants():
    vault, clock = Vault(), Clock()
    secrets = Secrets([vault], clock=clock)
    secret = await secrets.get("key")
    assert await secrets.get("key") is secret
    vault.value = "v2"
    clock.now += 299
    await secrets.poll()
    assert (secret.current(), vault.reads) == ("v1", 1)
    clock.now += 1
    await secrets.poll()
    assert (secret.current(), vault.reads) == ("v2", 2)


async def test_an_outage_of_a_source_keeps_the_value_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
):
    vault, clock = Vault(), Clock()
    secrets = Secrets([vault, FixedSecrets({"key": "fallback"})], clock=clock)
    secret = await secrets.get("key")
    vault.fails = True
    for _ in range(4):
        clock.now += 300
        await secrets.poll()
    assert secret.current() == "v1"
    assert len(caplog.records) == 1
    vault.fails, vault.value = False, "v2"
    await secrets.poll()
    assert secret.current() == "v2"


async def test_an_empty_secret_is_none():
    vault, clock = Vault(), Clock()
    secrets = Secrets([vault], clock=clock)
    secret = await secrets.get("key")
    vault.value = ""
    clock.now += 300
    await secrets.poll()
    assert secret.current() == "v1"
    with pytest.raises(SecretUnavailable):
        await secrets.get("other")


async def test_what_was_replaced_is_accepted_for_a_while():
    vault, clock = Vault(), Clock()
    secrets = Secrets([vault], clock=clock, overlap_s=1000.0)
    secret = await secrets.get("key")
    for value in ("v2", "v3"):
        clock.now += 300
        vault.value = value
        await secrets.poll()
    assert secret.accepted(clock.now) == ("v3", "v2", "v1")
    assert list(secrets.values()) == ["v3", "v2", "v1"]
    clock.now += 700
    assert secret.accepted(clock.now) == ("v3", "v2")
    clock.now += 300
    assert secret.accepted(clock.now) == ("v3",)


async def test_a_subscriber_that_fails_keeps_no_other_from_knowing(
    caplog: pytest.LogCaptureFixture,
):
    vault, clock = Vault(), Clock()
    secrets = Secrets([vault], clock=clock)
    secret = await secrets.get("key")
    seen: list[str] = []

    def fails(value: str) -> None:
        raise RuntimeError("no")

    secret.subscribe(fails)
    unsubscribe = secret.subscribe(seen.append)
    vault.value = "v2"
    clock.now += 300
    await secrets.poll()
    assert seen == ["v2"]
    assert any(record.exc_info for record in caplog.records)
    unsubscribe()
    unsubscribe()
    vault.value = "v3"
    clock.now += 300
    await secrets.poll()
    assert seen == ["v2"]


async def test_running_it_polls_until_it_is_cancelled():
    vault = Vault()
    vault.lifetime_s = 0.001
    secrets = Secrets([vault])
    secret = await secrets.get("key")
    changed = asyncio.Event()
    secret.subscribe(lambda value: changed.set())
    task = asyncio.create_task(secrets.run())
    vault.value = "v2"
    async with asyncio.timeout(5):
        await changed.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_no_secret_is_in_a_repr_or_in_the_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    vault, clock = Vault(), Clock()
    vault.value = "hush-hush-1"
    secrets = Secrets([vault], clock=clock)
    secret = await secrets.get("key")
    vault.value = "hush-hush-2"
    clock.now += 300
    await secrets.poll()
    assert "hush" not in f"{secret!r} {secret} {caplog.text}"
    assert "changed" in caplog.text
