"""What the server says about itself over HTTP, and to whom."""

import asyncio
import contextlib
import http.client
import json

import pytest

from signalling.auth import Verifier, VerifierSettings
from signalling.bus import BusUnavailable, MemoryBus
from signalling.jwks import KeySet, KeysUnavailable
from signalling.limits import Limits, parse_networks
from signalling.messages import Configure
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings
from tests.signalling.wire import ISSUER, client, member, until


@pytest.fixture
async def start():
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, bus=None, **changes):
            settings = SignallingSettings(verifier=ISSUER.verifier(), port=0, **changes)
            return await stack.enter_async_context(SignallingServer(settings, bus=bus))

        yield start


async def fetch(server, path, **headers):
    def blocking():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        result = response.status, response.read().decode()
        connection.close()
        return result

    return await asyncio.to_thread(blocking)


class ShakyBus(MemoryBus):
    is_there = True
    asked = 0

    @property
    def available(self):
        return self.is_there

    async def announced(self):
        self.asked += 1
        if not self.is_there:
            raise BusUnavailable("gone")
        return await super().announced()


async def test_alive_is_not_ready(start):
    bus = ShakyBus()
    server = await start(bus=bus)
    assert await fetch(server, "/readyz") == (200, "ready\n")
    bus.is_there = False
    status, why = await fetch(server, "/readyz")
    assert status == 503
    assert "Redis" in why
    assert await fetch(server, "/healthz") == (200, "ok\n")
    bus.is_there = True
    assert (await fetch(server, "/readyz"))[0] == 200


async def test_keys_are_asked_for_at_the_start_and_until_they_are_there_it_is_not_ready(caplog):
    """The issuer does not answer, then fails, then answers; the server listens all the while."""
    asked, answers = asyncio.Semaphore(0), asyncio.Queue()

    async def source():
        asked.release()
        answer = await answers.get()
        if answer is None:
            raise KeysUnavailable("https://issuer.internal answered 500")
        return answer

    settings = VerifierSettings(issuer="play", audience="play")
    keys = KeySet(source, cooldown_s=0.0, sleep=lambda seconds: asyncio.sleep(0))
    verifier = Verifier(settings, keys=keys)
    async with SignallingServer(SignallingSettings(verifier=verifier, port=0)) as server:
        await asyncio.wait_for(asked.acquire(), 5)  # though no client has come
        assert await fetch(server, "/readyz") == (
            503,
            "keys: the issuer's keys are not there yet\n",
        )
        answers.put_nowait(None)
        await asyncio.wait_for(asked.acquire(), 5)
        status, why = await fetch(server, "/readyz")
        assert (status, why.startswith("keys: the issuer's keys cannot be had")) == (503, True)
        assert "issuer.internal" not in why
        assert "https://issuer.internal answered 500" in caplog.text
        answers.put_nowait(json.dumps(ISSUER.jwks()).encode())
        await until(lambda: not verifier.missing)
        assert await fetch(server, "/readyz") == (200, "ready\n")
    await verifier.close()


async def test_metrics_count_what_happened(start):
    server = await start()
    async with member(server, "host"), client(server) as visitor:
        await visitor.websocket.send("nonsense")
        await visitor.refused()
        status, text = await fetch(server, "/metrics")
    assert status == 200
    found = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert float(found["playcast_connections"]) == 1
    assert float(found["playcast_connections_opened_total"]) == 2
    assert float(found['playcast_connections_closed_total{code="4400"}']) == 1
    assert float(found['playcast_messages_received_total{type="hello"}']) == 1
    assert float(found['playcast_members{role="host"}']) == 1
    assert float(found["playcast_rooms"]) == 1


@pytest.mark.parametrize(
    ("changes", "headers", "allowed"),
    [
        ({}, {}, True),  # this machine
        ({"metrics_networks": parse_networks(["10.0.0.0/8"])}, {}, False),
        ({}, {"X_Forwarded_For": "127.0.0.1"}, False),  # a proxy that nobody has declared
        ({}, {"Forwarded": "for=127.0.0.1"}, False),
        (
            {"proxies": parse_networks(["127.0.0.1"])},
            {"X_Forwarded_For": "198.51.100.1"},
            False,
        ),
        ({"metrics_token": "secret"}, {}, False),
        ({"metrics_token": "secret"}, {"Authorization": "Bearer wrong"}, False),
        ({"metrics_token": "secret"}, {"Authorization": "Bearer secret"}, True),
        (
            {"metrics_token": "secret"},
            {"Authorization": "Bearer secret", "X_Forwarded_For": "1.1.1.1"},
            True,
        ),
    ],
)
async def test_metrics_are_for_those_whom_the_settings_name(start, changes, headers, allowed):
    status, text = await fetch(await start(**changes), "/metrics", **headers)
    assert status == (200 if allowed else 404)
    assert ("playcast_" in text) == allowed


async def test_public_rooms_are_listed_and_the_bus_is_asked_once_a_second(start):
    bus = ShakyBus()
    server = await start(bus=bus)
    assert await fetch(server, "/rooms") == (200, '{"rooms":[]}')
    assert bus.asked == 1
    async with member(server, "host") as host:
        await host.send(Configure(privacy="public", title="Doom II"))
        async with asyncio.timeout(5):
            while not json.loads((await fetch(server, "/rooms"))[1])["rooms"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # an old list may be a second old
        asked = bus.asked
        answers = await asyncio.gather(*(fetch(server, "/rooms") for _ in range(20)))
        assert bus.asked <= asked + 1
        (room,) = json.loads(answers[0][1])["rooms"]
        assert (room["name"], room["title"]) == ("doom", "Doom II")


async def test_without_the_bus_the_list_is_to_be_asked_for_later(start):
    bus = ShakyBus()
    bus.is_there = False
    assert (await fetch(await start(bus=bus), "/rooms"))[0] == 503


# Who comes too often ----------------------------------------------------------------------------


async def test_an_address_has_so_many_connections_and_no_more(start):
    server = await start(limits=Limits(max_connections_per_address=3))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(client(server))
        with pytest.raises((ConnectionError, EOFError, http.client.HTTPException)):
            await fetch(server, "/healthz")
    await until(lambda: server._site.open_connections == 0)
    assert (await fetch(server, "/healthz"))[0] == 200


async def test_behind_a_declared_proxy_it_is_the_client_that_counts(start):
    server = await start(
        limits=Limits(max_connections_per_address=1), proxies=parse_networks(["127.0.0.0/8"])
    )
    one, two = ({"X-Forwarded-For": f"198.51.100.{number}"} for number in (1, 2))
    async with client(server, additional_headers=one), client(server, additional_headers=two):
        with pytest.raises(Exception, match="HTTP 429"):
            async with client(server, additional_headers=one):
                pass
    await until(lambda: not server._services.connections)
    async with client(server, additional_headers=one):
        pass
