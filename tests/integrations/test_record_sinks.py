"""The audit log and events of a real ``playcast serve``, with people in its rooms."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from integrations.events import OLDEST, EventBus, RedisLog, SubscriptionSettings
from integrations.record_sinks import AuditSection, EventsSection, record_sinks
from signalling.audit import AuditError, verify
from signalling.audit.files import chain_files, read_head
from signalling.records import Record
from signalling.redis.settings import RedisSettings
from tests.integrations.events.waiting import Handled, until
from tests.signalling.raw_client import RawClient
from tests.signalling.redis import server as redis_server

ROOT = Path(__file__).parents[2]
KEY = "k" * 32
NAMES = (
    "audit_records_total",
    "audit_dropped_total",
    "audit_up",
    "events_published_total",
    "events_dropped_total",
    "events_waiting",
)


class Serving:
    """``playcast serve --dev``, configured by the environment."""

    def __init__(self, folder, **settings):
        kept = {n: v for n, v in os.environ.items() if not n.startswith("PLAYCAST")}
        named = {f"PLAYCAST_{n.upper()}": v for n, v in settings.items()}
        self._environment = {**kept, "XDG_RUNTIME_DIR": str(folder), **named}

    async def __aenter__(self):
        read, write = os.pipe()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "peer.cli", "serve", "--dev", "--port", "0"),
            *("--ready-fd", str(write)),
            cwd=ROOT,
            env=self._environment,
            pass_fds=(write,),
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            line = await asyncio.wait_for(asyncio.to_thread(pipe.readline), 30)
        assert line, (await self._process.communicate())[1].decode()
        ready = json.loads(line)
        self.url, self.tokens = ready["websocket_url"], ready["tokens"]
        return self

    async def __aexit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            _, said = await self._process.communicate()
        assert self._process.returncode == 0, said.decode()

    async def enter(self, role, **hello):
        """A client that is in the room "play", and its welcome."""
        client = await RawClient.enter(self.url, self.tokens[role], role, **hello)
        return client, await client.until("welcome")


async def test_what_people_do_is_audited_and_published(tmp_path):
    with redis_server.single(tmp_path / "redis") as redis:
        url = redis.url
        settings = {
            "redis__url": url,
            "events__publish": "true",
            "audit__file": str(tmp_path / "audit.jsonl"),
            "audit__key": KEY,
            "turn__regions": "eu=turn:eu.example:3478,us=turn:us.example:3478",
            "turn__secret": "north",
        }
        handled = Handled()
        async with EventBus(RedisLog(RedisSettings(url=url))) as bus:
            bus.subscribe("test", handled, settings=SubscriptionSettings(start=OLDEST))
            async with Serving(tmp_path, **settings) as server:
                host, _ = await server.enter("host")
                viewer, welcome = await server.enter("viewer", region="us")
                (turn,) = welcome["ice_servers"]
                assert turn["urls"] == ["turn:us.example:3478"]
                until_s, _, peer = turn["username"].partition(":")
                assert peer == welcome["peer"]
                assert abs(int(until_s) - time.time() - 12 * 3600) < 60
                await host.done(type="promote", peer=peer, role="player")
                await host.done(type="control-grant", control="pad:1", peer=peer)
                await host.done(type="kick", peer=peer, message="enough")
                await viewer.closed()
                await host.leave()
                await handled.until_true(lambda: "room.closed" in [e.type for e in handled])
            expected = [
                "room.opened",
                "stream.started",
                "viewer.joined",
                "viewer.promoted",
                "control.granted",
                "viewer.kicked",
                "viewer.left",
                "control.released",
                "stream.ended",
                "room.closed",
            ]
            types = [event.type for event in handled if event.room == "play"]
            assert types == expected
    granted = next(event for event in handled if event.type == "control.granted")
    assert granted.data.control == "pad:1"
    assert (granted.data.actor, granted.data.subject) == ("dev-host", "dev-viewer")
    assert granted.data.peer == peer
    assert granted.source.startswith("/signalling/")

    file = tmp_path / "audit.jsonl"
    assert verify(chain_files(file), KEY.encode(), head=read_head(file)).findings == []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kicked = next(line for line in lines if line["type"] == "viewer.kicked")
    assert (kicked["actor"], kicked["subject"], kicked["room"]) == (
        "dev-host",
        "dev-viewer",
        "play",
    )
    assert [line["type"] for line in lines if line["room"] == "play"] == expected


async def test_nothing_is_in_the_way_of_who_wants_neither(tmp_path):
    async with record_sinks(AuditSection(), EventsSection(), None) as sink:
        sink.put(Record(type="room.opened", at=0.0))
    assert list(tmp_path.iterdir()) == []


async def test_records_are_in_the_file_when_it_is_left(tmp_path):
    section = AuditSection(file=tmp_path / "audit.jsonl", sync="never")
    async with record_sinks(section, EventsSection(), None) as sink:
        for n in range(100):
            sink.put(Record(type="room.opened", at=float(n), room=f"r{n}"))
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert [msgspec.json.decode(line)["room"] for line in lines[1:]] == [
        f"r{n}" for n in range(100)
    ]


async def test_how_they_fare_is_measured(tmp_path):
    registry = CollectorRegistry()

    def measured():
        return {name: registry.get_sample_value(f"playcast_{name}") for name in NAMES}

    with redis_server.single(tmp_path / "redis") as redis:
        audit = AuditSection(file=tmp_path / "audit.jsonl")
        settings = RedisSettings(url=redis.url)
        async with record_sinks(audit, EventsSection(publish=True), settings, registry) as sink:
            for _ in range(3):
                sink.put(Record(type="room.opened", at=0.0))
            sink.put(Record(type="invite.made", at=0.0, data={"for_s": "soon"}))
            wanted = dict(zip(NAMES, (4, 0, 1, 3, 1, 0), strict=True))
            await until(lambda: measured() == wanted)
    assert set(measured().values()) == {None}


@pytest.mark.parametrize(
    ("audit", "events", "error", "said"),
    [
        ({"file": "here", "key": "short"}, {}, ValueError, r"^key:"),
        ({"file": "no/where"}, {}, AuditError, "No such file"),
        ({}, {"publish": True}, ValueError, r"^events\.publish: needs redis\.url"),
    ],
)
async def test_what_is_wrong_is_named(tmp_path, audit, events, error, said):
    if "file" in audit:
        audit["file"] = tmp_path / audit["file"]
    with pytest.raises(error, match=said):
        async with record_sinks(AuditSection(**audit), EventsSection(**events), None):
            raise AssertionError
