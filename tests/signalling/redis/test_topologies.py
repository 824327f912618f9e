"""Redis behind Sentinel, as a cluster, over TLS, and for a user that may do little."""

import asyncio
import re
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from signalling.bus import BusUnavailable
from signalling.limits import Limits
from signalling.redis.bus import RedisBus
from signalling.redis.settings import RedisSettings

from . import server as redis_server
from .certificates import Authority
from .replica import answer, eventually, same, viewer
from .test_bus import Talk, pair, subscribed

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


async def test_sentinel_moves_to_another_primary_and_nobody_notices(tmp_path, connected):
    with redis_server.sentinels(tmp_path) as (url, primary, _):
        patient = {"patience_s": 20.0, "lease_s": 10.0}
        here, there = await connected(url, **patient), await connected(url, **patient)
        first, second = await pair(here, there)
        talk = Talk(here, there)
        await talk.progress()
        primary.kill()
        await talk.progress()
        await talk.stop()
        await talk.check(first, second)
        late = await subscribed(await connected(url, **patient))
        await same(first, second, late)


# A cluster ---------------------------------------------------------------------------------------


async def test_a_cluster_carries_rooms_on_all_its_nodes(tmp_path, connected):
    with redis_server.cluster(tmp_path) as (url, nodes):
        here, there = await connected(url), await connected(url)
        for i in range(24):
            first, second = await pair(here, there, f"room{i}")
            await here.publish(f"room{i}", answer("h", "v", "end"))
            await second.until(lambda copy: copy.said_by("h") == ["end"])
            await same(first, second)
        await here.announce("room0", b"card")
        await eventually(announced(there, {"room0": b"card"}))
        limiter = here.rate_limiter(Limits())
        for i in range(20):
            limiter.take("user.chat", f"{i}", asyncio.get_running_loop().time())
        for node in nodes:
            with node.client() as client:
                assert client.keys("playcast:{room*:log")
                await eventually(lambda c=client: c.keys("playcast:{.rates*"))


async def test_a_cluster_whose_node_was_away_has_its_rooms_again(tmp_path, connected):
    with redis_server.cluster(tmp_path) as (url, nodes):
        patient = {"patience_s": 20.0, "lease_s": 10.0}
        here, there = await connected(url, **patient), await connected(url, **patient)
        copies = [await pair(here, there, f"room{i}") for i in range(6)]
        lost = next(node for node in nodes if owns(node, "playcast:{room0}:log"))
        lost.kill()
        waiting = asyncio.create_task(there.publish("room0", answer("v", "h", "waited")))
        lost.start()
        await waiting
        for i, (first, second) in enumerate(copies):
            await here.publish(f"room{i}", answer("h", "v", "end"))
            await second.until(lambda copy: copy.said_by("h") == ["end"])
            await same(first, second)
            assert first.present == {"h", "v"}
        assert copies[0][0].said_by("v") == ["waited"]


def owns(node, key):
    with node.client() as client:
        return client.keys(key) == [key.encode()]


def announced(bus, cards):
    async def true():
        return await bus.announced() == cards

    return true


# TLS ---------------------------------------------------------------------------------------------


@pytest.fixture
def tls_redis(tmp_path):
    """A Redis that speaks TLS alone and asks for certificates, and what a client needs."""
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("redis")
    port = redis_server.free_port()
    lines = [
        f"tls-port {port}",
        f"tls-cert-file {certificate}",
        f"tls-key-file {key}",
        f"tls-ca-cert-file {authority.ca}",
    ]
    with redis_server.single(tmp_path / "redis", *lines) as server:
        url = f"rediss://127.0.0.1:{port}"
        cert_file, key_file = authority.issue("server")
        yield server, url, {"ca_file": authority.ca, "cert_file": cert_file, "key_file": key_file}


async def test_rooms_over_tls_survive_a_restart_of_redis(tls_redis, connected):
    server, url, files = tls_redis
    patient = {"timeout_s": 3.0, "patience_s": 20.0, **files}
    here, there = await connected(url, **patient), await connected(url, **patient)
    first, second = await pair(here, there)
    server.kill()
    server.start()
    end = answer("h", "v", "end")
    await here.publish("r", end)
    await second.until(end)
    await same(first, second)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ca_file": None}, "certificate verify failed"),
        ({"cert_file": None, "key_file": None}, "certificate required|closed|reset"),
        ({"host": "localhost"}, "match|mismatch"),
    ],
    ids=["of an unknown authority", "none shown", "for another name"],
)
async def test_a_certificate_that_is_not_good_is_not_taken(tls_redis, changes, said):
    _, url, files = tls_redis
    files = {**files, **changes}
    if name := files.pop("host", None):
        url = url.replace("127.0.0.1", name)
    settings = RedisSettings(url=url, timeout_s=5.0, patience_s=60.0, **files)
    with pytest.raises(BusUnavailable, match=said):
        await RedisBus.connect(settings)


# Who may do what ---------------------------------------------------------------------------------


def documented_user():
    """The words of the ACL line in the documentation."""
    (line,) = re.findall(r"^user games .*$", OPERATIONS.read_text(), re.MULTILINE)
    return line.replace(">PASSWORD", ">secret").split()


COMMANDS = [word for word in documented_user() if word.startswith("+")]


async def everything(url):
    """All that servers do in Redis, and that it does for them."""
    quick = {"lease_s": 0.3, "tick_s": 0.05, "snapshot_s": 0.01}
    here, there, dying = [await RedisBus.connect(RedisSettings(url=url, **quick)) for _ in range(3)]
    try:
        first, second = await pair(here, there)
        lost = await subscribed(dying)
        await dying.publish("r", viewer("lost"))
        for _ in range(130):
            await here.publish("r", answer("h", "v", "x"))
        await here.announce("r", b"card")
        await eventually(announced(there, {"r": b"card"}))
        now = asyncio.get_running_loop().time()
        limiter = here.rate_limiter(Limits())
        limiter.take("user.chat", "someone", now)
        await limiter._tell({("user.chat", "someone"): 1.0})
        await lost.until(lambda copy: copy.present == {"h", "v", "lost"})
        dying._runner.cancel()
        await first.until(lambda copy: copy.present == {"h", "v"})
        await same(first, second)
        await eventually(lambda: here.available and there.available)
    finally:
        for bus in (here, there, dying):
            await bus.close()


async def test_a_user_who_may_do_what_the_documentation_says_is_enough(tmp_path):
    lines = [" ".join(documented_user()), "user default off"]
    with redis_server.single(tmp_path / "redis", *lines) as redis:
        await everything(f"redis://games:secret@127.0.0.1:{redis.port}")


@pytest.mark.parametrize("command", COMMANDS)
async def test_and_none_of_it_is_too_much(acl_redis, command, caplog):
    url = acl_redis(*(word for word in COMMANDS if word != command))
    said = ""
    try:
        await everything(url)
    except (BusUnavailable, RedisError) as error:
        said = str(error)
    assert re.search(r"no permissions to run|can't run this command", f"{said} {caplog.text}")


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory):
    with redis_server.single(tmp_path_factory.mktemp("acl")) as server:
        yield server


@pytest.fixture
def acl_redis(shared_redis):
    """Sets the user up with some commands: the URL."""

    def set_up(*commands):
        words = [word for word in documented_user()[2:] if not word.startswith("+")]
        with shared_redis.client() as client:
            client.flushall()
            client.script_flush()
            client.execute_command("ACL", "SETUSER", "games", "reset", *words, *commands)
        return f"redis://games:secret@127.0.0.1:{shared_redis.port}"

    return set_up


@pytest.mark.parametrize(
    ("login", "prefix", "said"),
    [
        ("games:secret@", "other:", "permission|NOPERM|ACL"),
        ("games:wrong@", "playcast:", "WRONGPASS|invalid username-password"),
        ("", "playcast:", "NOAUTH|Authentication required"),
    ],
)
async def test_what_redis_does_not_allow_is_said_at_once(tmp_path, login, prefix, said):
    lines = [" ".join(documented_user()), "user default off"]
    with redis_server.single(tmp_path / "redis", *lines) as redis:
        url = f"redis://{login}127.0.0.1:{redis.port}"
        settings = RedisSettings(url=url, prefix=prefix, patience_s=60.0)
        async with asyncio.timeout(2):
            with pytest.raises(BusUnavailable, match=said) as raised:
                await RedisBus.connect(settings)
        assert "secret" not in str(raised.value)
        assert "wrong" not in str(raised.value)
