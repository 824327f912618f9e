import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from signalling.dev import DevIssuer
from signalling.jwks import (
    LEAST_RETRY_S,
    KeySet,
    KeysUnavailable,
    UnknownKey,
    key_source,
    parse_jwks,
)
from tests.integrations.jwks_server import SigningKey, jwks_server

ROOT = Path(__file__).parents[2]
OLD, NEW = DevIssuer.generate(), DevIssuer.generate()
OLD_KID, NEW_KID = (issuer.jwks()["keys"][0]["kid"] for issuer in (OLD, NEW))


class Issuer:
    """A source of keys that can rotate, fail and be slow; counts its fetches."""

    def __init__(self):
        self.jwks = OLD.jwks()
        self.down = False
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = 1000.0
        self.sleepers = []

    async def sleep(self, seconds):
        """Until :meth:`advance` has let so much time pass."""
        awake = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, awake))
        await awake

    async def advance(self, seconds):
        """Let time pass, and everyone do what they do then."""
        self.now += seconds
        for until, awake in self.sleepers:
            if self.now >= until and not awake.done():
                awake.set_result(None)
        await settle()

    async def __call__(self):
        self.fetches += 1
        await self.gate.wait()
        if self.down:
            raise KeysUnavailable("down")
        return json.dumps(self.jwks).encode()

    def keys(self, **options):
        return KeySet(
            self,
            lifetime_s=100.0,
            cooldown_s=10.0,
            clock=lambda: self.now,
            sleep=self.sleep,
            **options,
        )


async def settle():
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def issuer():
    return Issuer()


async def test_keys_are_fetched_once_for_their_lifetime(issuer):
    keys = issuer.keys()
    for _ in range(3):
        assert (await keys.get(OLD_KID)).key_size == 2048
    issuer.now += 99.0
    await keys.get(OLD_KID)
    assert issuer.fetches == 1
    issuer.now += 2.0
    await keys.get(OLD_KID)
    await asyncio.sleep(0)
    assert issuer.fetches == 2


async def test_each_fetch_is_told_of_with_its_outcome(issuer):
    keys = issuer.keys()
    outcomes = []
    keys.watch(outcomes.append)
    issuer.down = True
    with pytest.raises(KeysUnavailable):
        await keys.get(OLD_KID)
    issuer.down = False
    issuer.now += 10.0
    for _ in range(3):
        await keys.get(OLD_KID)
    assert outcomes == ["failed", "ok"]
    await keys.close()


async def test_a_key_that_is_rotated_within_the_cooldown_is_waited_for(issuer):
    keys = issuer.keys()
    await keys.get(OLD_KID)
    issuer.jwks = NEW.jwks()
    await issuer.advance(4.0)
    asking = [asyncio.create_task(keys.get(NEW_KID)) for _ in range(3)]
    await issuer.advance(5.9)
    assert issuer.fetches == 1
    assert (await keys.get(OLD_KID)).key_size == 2048  # who has a key waits for nothing
    await issuer.advance(0.2)
    assert len({id(key) for key in await asyncio.gather(*asking)}) == 1
    assert issuer.fetches == 2
    await issuer.advance(10.0)
    with pytest.raises(UnknownKey):
        await keys.get(OLD_KID)


async def test_made_up_key_ids_do_not_hammer_the_issuer(issuer):
    """Fifty a second for two minutes: a fetch in ten seconds, and a bounded crowd that waits."""
    keys = issuer.keys(most_waiting=8)
    await keys.get(OLD_KID)
    waiting = []
    for number in range(6000):
        waiting.append(asyncio.create_task(keys.get(f"made-up-{number}")))
        await issuer.advance(0.02)
        done = [task for task in waiting if task.done()]
        assert all(isinstance(task.exception(), UnknownKey) for task in done)
        waiting = [task for task in waiting if not task.done()]
        assert len(waiting) <= 8
    assert issuer.fetches == 12
    await issuer.advance(10.0)
    assert all(task.done() and task.exception() for task in waiting)


async def test_the_first_fetch_is_waited_for_by_all(issuer):
    keys = issuer.keys(most_waiting=1)
    issuer.gate.clear()
    waiting = [asyncio.create_task(keys.get(OLD_KID)) for _ in range(10)]
    await settle()
    issuer.gate.set()
    assert len(await asyncio.gather(*waiting)) == 10
    assert issuer.fetches == 1


async def test_who_gives_up_waiting_makes_room_for_another(issuer):
    keys = issuer.keys(most_waiting=1)
    await keys.get(OLD_KID)
    first = asyncio.create_task(keys.get(NEW_KID))
    await settle()
    with pytest.raises(UnknownKey):
        await keys.get(NEW_KID)
    first.cancel()
    await settle()
    issuer.jwks = NEW.jwks()
    second = asyncio.create_task(keys.get(NEW_KID))
    await issuer.advance(10.0)
    assert (await second).key_size == 2048
    assert issuer.fetches == 2


async def test_a_key_that_is_not_known_in_an_outage_may_be_good(issuer):
    keys = issuer.keys()
    await keys.get(OLD_KID)
    issuer.down = True
    await issuer.advance(10.0)
    for _ in range(2):  # the second is not kept waiting
        with pytest.raises(KeysUnavailable, match="down"):
            await keys.get(NEW_KID)
    assert issuer.fetches == 2


async def test_all_who_wait_share_one_fetch_and_one_giving_up_harms_no_other(issuer):
    keys = issuer.keys()
    issuer.gate.clear()
    waiting = [asyncio.create_task(keys.get(OLD_KID)) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    issuer.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert len({id(key) for key in results[1:]}) == 1
    assert issuer.fetches == 1


async def test_old_keys_stay_good_while_the_issuer_is_down(issuer):
    keys = issuer.keys()
    key = await keys.get(OLD_KID)
    issuer.down = True
    issuer.now += 500.0
    assert await keys.get(OLD_KID) is key
    assert await keys.get(OLD_KID) is key
    assert keys.missing == ""
    assert issuer.fetches == 2  # the second try waits for the cooldown


async def test_who_has_a_key_does_not_wait_while_others_are_fetched(issuer):
    keys = issuer.keys()
    key = await keys.get(OLD_KID)
    issuer.gate.clear()
    issuer.now += 150.0
    async with asyncio.timeout(5):
        assert await keys.get(OLD_KID) is key
    unknown = asyncio.create_task(keys.get(NEW_KID))  # only the fetch can tell
    await asyncio.sleep(0)
    assert issuer.fetches == 2
    assert not unknown.done()
    issuer.jwks = NEW.jwks()
    issuer.gate.set()
    assert (await unknown).key_size == 2048
    issuer.now += 10.0
    with pytest.raises(UnknownKey):
        await keys.get(OLD_KID)


async def test_keys_that_nobody_asked_for_in_long_are_not_trusted_unasked(issuer):
    keys = issuer.keys()
    await keys.get(OLD_KID)
    issuer.jwks = NEW.jwks()
    issuer.now += 500.0
    with pytest.raises(UnknownKey):
        await keys.get(OLD_KID)


async def test_an_outage_is_waited_for_once(issuer):
    keys = issuer.keys()
    await keys.get(OLD_KID)
    issuer.down = True
    issuer.now += 500.0
    await keys.get(OLD_KID)
    assert keys.failure == "down"
    issuer.gate.clear()
    for _ in range(3):
        issuer.now += 50.0
        async with asyncio.timeout(5):
            await keys.get(OLD_KID)
    issuer.down = False
    issuer.gate.set()
    with pytest.raises(UnknownKey):
        await keys.get("made-up")
    assert keys.failure == ""


async def test_without_any_keys_it_says_so_and_tries_again_after_the_cooldown(issuer):
    keys = issuer.keys()
    issuer.down = True
    for _ in range(2):
        with pytest.raises(KeysUnavailable, match="down"):
            await keys.get(OLD_KID)
    assert issuer.fetches == 1
    assert "cannot be had" in keys.missing
    issuer.down = False
    issuer.now += 10.0
    await keys.get(OLD_KID)
    assert keys.missing == ""


async def test_the_first_keys_are_fetched_before_anyone_asks_for_one(issuer):
    """Whoever asks meanwhile waits for that very fetch."""
    keys = issuer.keys()
    issuer.gate.clear()
    keys.begin()
    keys.begin()
    assert "not there yet" in keys.missing
    await settle()
    asking = [asyncio.create_task(keys.get(OLD_KID)) for _ in range(3)]
    await settle()
    issuer.gate.set()
    assert len(await asyncio.gather(*asking)) == 3
    assert (issuer.fetches, keys.missing) == (1, "")
    await issuer.advance(99.0)
    assert issuer.fetches == 1
    await keys.close()


async def test_an_issuer_that_is_down_at_the_start_is_asked_until_it_answers(issuer, caplog):
    caplog.set_level(logging.INFO)
    keys = issuer.keys()
    issuer.down = True
    keys.begin()
    await settle()
    with pytest.raises(KeysUnavailable, match="down"):
        await keys.get(OLD_KID)  # is not kept waiting until it is tried again
    assert (issuer.fetches, "cannot be had" in keys.missing) == (1, True)
    for tried in (2, 3, 4):
        await issuer.advance(9.0)
        assert issuer.fetches == tried - 1
        await issuer.advance(1.0)
        assert issuer.fetches == tried
    issuer.down = False
    await issuer.advance(10.0)
    assert (issuer.fetches, keys.missing) == (5, "")
    await issuer.advance(50.0)
    assert issuer.fetches == 5
    failed, again = caplog.messages
    assert "down" in failed
    assert "Can this machine reach it?" in failed
    assert "again" in again
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    await keys.close()


async def test_who_needs_keys_takes_the_turn_of_the_beginning(issuer):
    """One attempt in each cooldown, whoever makes it."""
    keys = issuer.keys()
    issuer.down = True
    keys.begin()
    await settle()
    issuer.now += 10.0  # its own sleep has not ended yet
    with pytest.raises(KeysUnavailable):
        await keys.get(OLD_KID)
    assert issuer.fetches == 2
    await issuer.advance(0.0)
    assert issuer.fetches == 2
    await keys.close()


async def test_without_a_cooldown_the_beginning_still_waits_a_little(issuer):
    keys = KeySet(issuer, cooldown_s=0.0, clock=lambda: issuer.now, sleep=issuer.sleep)
    issuer.down = True
    keys.begin()
    await settle()
    assert issuer.fetches == 1
    await issuer.advance(LEAST_RETRY_S)
    assert issuer.fetches == 2
    await keys.close()


async def test_closing_gives_up_the_beginning(issuer):
    keys = issuer.keys()
    issuer.gate.clear()
    keys.begin()
    await settle()
    await keys.close()
    issuer.gate.set()
    await issuer.advance(50.0)
    assert issuer.fetches == 1
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint(
        {"jwks-begin", "jwks-refresh"}
    )


async def test_closing_gives_up_a_fetch(issuer):
    keys = issuer.keys()
    issuer.gate.clear()
    waiting = asyncio.create_task(keys.get(OLD_KID))
    await asyncio.sleep(0)
    await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await keys.close()


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "EC"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"use": "enc"},
        {"alg": "HS256"},
        {"alg": "RS512"},
        {"kid": 7},
        {"n": "AQAB"},
        {"n": 5},
        {"e": "!"},
        {"d": "AQAB"},
    ],
)
def test_keys_of_other_kinds_are_passed_over(change):
    good = OLD.jwks()["keys"][0]
    odd = {**NEW.jwks()["keys"][0], **change}
    assert set(parse_jwks(json.dumps({"keys": [odd, good, "text"]}).encode())) == {OLD_KID}
    with pytest.raises(KeysUnavailable, match="no RS256"):
        parse_jwks(json.dumps({"keys": [odd]}).encode())


@pytest.mark.parametrize("document", [b"", b"\xff", b"[]", b"{}", b'{"keys":{}}', b"[" * 100_000])
def test_what_is_no_jwk_set_is_refused(document):
    with pytest.raises(KeysUnavailable, match="not a JWK Set"):
        parse_jwks(document)


async def test_keys_come_from_a_file(tmp_path):
    path = tmp_path / "jwks.json"
    with pytest.raises(KeysUnavailable, match=r"jwks\.json: No such file"):
        await key_source(path)()
    path.write_text(json.dumps(OLD.jwks()))
    assert parse_jwks(await key_source(str(path))()).keys() == {OLD_KID}


async def test_keys_come_from_a_url_and_what_goes_wrong_there_is_named():
    async def answer(request):
        match request.path:
            case "/good":
                return web.json_response(OLD.jwks())
            case "/large":
                return web.Response(body=b" " * 300_000)
            case "/moved":
                raise web.HTTPFound("/good")
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        assert parse_jwks(await key_source(f"{base}/good")()).keys() == {OLD_KID}
        for path, says in (("large", "more than"), ("broken", "500"), ("moved", "302")):
            with pytest.raises(KeysUnavailable, match=says):
                await key_source(f"{base}/{path}")()
    finally:
        await runner.cleanup()
    with pytest.raises(KeysUnavailable, match="cannot fetch"):
        await key_source(f"{base}/good")()


async def test_the_loop_goes_on_while_keys_are_fetched():
    """The key server is in the same loop: a fetch that held it up would never be answered."""
    key = SigningKey("k")
    async with jwks_server(key) as server, asyncio.timeout(10):
        server.gate.clear()
        keys = KeySet(key_source(server.url))
        fetching = asyncio.create_task(keys.get("k"))
        await server.arrivals.acquire()
        turns = 0
        while turns < 1000:
            await asyncio.sleep(0)
            turns += not fetching.done()
        server.gate.set()
        assert (await fetching).key_size == 2048


def test_what_takes_long_to_import_is_there_before_a_fetch():
    script = (
        "import sys; from signalling.jwks import key_source; assert 'aiohttp' not in sys.modules;"
        " key_source('https://issuer.example/jwks'); assert 'aiohttp' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize("url", ["http://issuer.example/jwks", "ftp://127.0.0.1/jwks"])
def test_a_url_that_could_be_tampered_with_is_misuse(url):
    with pytest.raises(ValueError, match="https"):
        key_source(url)


@pytest.mark.parametrize(
    "url", ["https://a..b/", f"https://{'a' * 64}.example/", "https://h:99999/", "https://[::1/"]
)
def test_a_url_that_no_fetch_could_make_sense_of_is_misuse(url):
    with pytest.raises(ValueError, match=r"jwks: .* is not a URL"):
        key_source(url)
