"""Two servers, driven over WebSockets alone, against the model of a room.

An admin who stays throughout watches: what it sees of the others is waited for after each step, so
that the next one begins when all servers know of the last.
"""

import asyncio
import contextlib
import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from websockets.asyncio.client import connect

from signalling.bus import MemoryBus
from signalling.dev import DevIssuer
from signalling.limits import RATES, Limit, Limits
from signalling.messages import (
    Admit,
    Answer,
    Ban,
    Bye,
    Chat,
    Configure,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    ControlTake,
    Done,
    Error,
    Hello,
    Kick,
    Offer,
    Promote,
    Resume,
    Unban,
    Waiting,
    Welcome,
    decode_server,
    encode,
)
from signalling.redis.bus import RedisBus
from signalling.redis.settings import RedisSettings
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings

from .redis import server as redis_server
from .rooms.model import SEES, Truth, View

DEADLINE_S = 10.0
SUBJECTS = ["ann", "bob", "cyd", "dee"]
BEGIN = ["host", "player", "viewer", "player"]
CONTROLS = ["pad:1", "pad:2", "keyboard", "mouse"]
NO_LIMITS = Limits(rates={kind: Limit(1e6, 1e6) for kind in RATES}, max_connections_per_user=10_000)

issuer = DevIssuer.generate()
numbers = itertools.count()
choices = st.integers(0, 2**16)


class Wire:
    """One client over one WebSocket at a time."""

    def __init__(self, subject, role, room):
        self.subject = subject
        self.role = role
        self.room = room
        self.view = View()
        self.secret = ""
        self.said = []
        """What others said to it."""
        self.answers = {}
        self.error = None
        self.waits = False
        self.websocket = None

    async def enter(self, server, *, resume=False):
        self.websocket = await connect(server.websocket_url)
        self.error = None
        before = self.view
        hello = Hello(
            issuer.mint(self.subject, self.room, self.role),
            self.room,
            "host" if self.role == "host" else "viewer",
            resume=Resume(before.peer, self.secret, before.seq) if resume else None,
        )
        await self.websocket.send(encode(hello))
        await self.until(lambda: self.error or self.waits or self.view.role)

    async def until(self, true):
        """Takes in what comes until ``true()``."""
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                await self._take_in()

    async def _take_in(self):
        message = decode_server(await self.websocket.recv())
        match message:
            case Error(id=""):
                self.error = message
            case Done() | Error():
                self.answers[message.id] = message
            case Waiting():
                self.waits, self.view.peer = True, message.peer
            case Welcome():
                self.waits, self.secret = False, message.secret
                self.welcome = message
            case Offer() | Answer():
                self.said.append(message.sdp)
        self.view.take_in(message)

    async def ask(self, request):
        """The answer's code, or ok."""
        request = msgspec.structs.replace(request, id=f"{next(numbers)}")
        await self.websocket.send(encode(request))
        await self.until(lambda: request.id in self.answers)
        answer = self.answers[request.id]
        return "ok" if isinstance(answer, Done) else answer.code

    async def say(self, message):
        await self.websocket.send(encode(message))

    def abort(self):
        self.websocket.transport.abort()

    async def close(self):
        if self.websocket is not None:
            await self.websocket.close()


class ServerMachine(RuleBasedStateMachine):
    """Its subclass has the servers and the loop that they run in."""

    servers = ()
    runner = None

    def __init__(self):
        super().__init__()
        self.room = f"room-{next(numbers)}"
        self.truth = Truth(0.0)
        self.clients = {}
        self.to_come = {}
        self.admin = None

    def run(self, work):
        return self.runner.run(work)

    def teardown(self):
        async def close():
            for client in [*self.clients.values(), self.admin]:
                if client is not None:
                    client.abort()
                    with contextlib.suppress(Exception):
                        await client.websocket.wait_closed()

        self.run(close())

    def pick(self, choice, *, there=True, roles=("host", "player", "viewer", "moderator")):
        able = [
            one
            for one in self.truth.people.values()
            if (one.there or not there) and one.role in roles
        ]
        return able[choice % len(able)] if able else None

    # Coming and going

    @initialize()
    def begin(self):
        self.admin = Wire("admin", "admin", self.room)
        self.run(self.admin.enter(self.servers[0]))
        self.truth.enter(self.admin.view.peer, "admin", "admin", False)
        assert self.staff(Configure(pads=2)) == "ok"
        for role, subject in zip(BEGIN, SUBJECTS, strict=True):
            self.join(role, subject, 0)

    @rule(
        role=st.sampled_from(["host", "player", "viewer", "moderator"]),
        subject=st.sampled_from(SUBJECTS),
        where=choices,
    )
    def join(self, role, subject, where):
        verdict = self.truth.verdict(role, subject)
        client = Wire(subject, role, self.room)
        self.run(client.enter(self.servers[where % len(self.servers)]))
        if verdict not in ("in", "waits"):
            assert client.error.code == verdict
            self.run(client.close())
            return
        assert (client.error, client.waits) == (None, verdict == "waits")
        peer = client.view.peer
        self.truth.enter(peer, subject, role, verdict == "waits")
        self.clients[peer] = client
        self.to_come[peer] = []
        self.settle()

    @rule(choice=choices)
    def drop(self, choice):
        one = self.pick(choice)
        if one is not None:
            self.clients[one.peer].abort()
            one.gone_at = float("inf")
            self.truth.settle()
            self.settle()

    @rule(choice=choices, where=choices)
    def come_back(self, choice, where):
        one = self.pick(choice, there=False)
        if one is None or one.waiting:
            return
        client = self.clients[one.peer]
        old = client.websocket
        peer, client.view.role = client.view.peer, ""
        self.run(client.enter(self.servers[where % len(self.servers)], resume=True))
        assert client.welcome.resumed
        assert client.welcome.complete
        assert client.view.peer == peer
        if one.gone_at is None:
            self.run(replaced(old))
        one.gone_at = None
        self.truth.settle()
        self.settle()

    @rule(choice=choices)
    def leave(self, choice):
        one = self.pick(choice)
        if one is not None:
            client = self.clients[one.peer]
            self.run(client.say(Bye()))
            self.run(client.websocket.wait_closed())
            assert client.websocket.close_code == 1000
            self.truth.remove(one.peer)
            self.settle()

    # What they say

    @rule(choice=choices)
    def relay(self, choice):
        host = self.truth.host
        other = self.pick(choice, there=False, roles=("player", "viewer", "moderator"))
        if host is None or other is None or other.waiting:
            return
        text = f"text {next(numbers)}"
        if host.there:
            self.run(self.clients[host.peer].say(Offer(other.peer, text)))
            self.to_come[other.peer].append(text)
        if other.there:
            self.run(self.clients[other.peer].say(Answer(host.peer, text)))
            self.to_come[host.peer].append(text)
        self.settle()

    @rule(choice=choices)
    def chat(self, choice):
        one = self.pick(choice)
        if one is not None:
            text = f"chat {next(numbers)}"
            assert self.run(self.clients[one.peer].ask(Chat(text))) == "ok"
            self.truth.chat.append(text)
            self.settle()

    def staff(self, request):
        return self.run(self.admin.ask(request))

    @rule(
        policy=st.sampled_from(["open", "open", "approval"]),
        rule=st.sampled_from(["ask", "free"]),
        locked=st.sampled_from([False, False, True]),
    )
    def configure(self, policy, rule, locked):
        request = Configure(policy=policy, control_policy=rule, locked=locked, pads=2)
        assert self.staff(request) == "ok"
        truth = self.truth
        truth.policy, truth.rule, truth.locked = policy, rule, locked
        truth.settle()
        self.settle()

    @rule(choice=choices)
    def admit(self, choice):
        waiting = [one for one in self.truth.people.values() if one.waiting]
        if waiting:
            one = waiting[choice % len(waiting)]
            assert self.staff(Admit(one.peer)) == "ok"
            self.truth.admit(one)
            self.settle()

    @rule(choice=choices, other=choices, role=st.sampled_from(["viewer", "player", "moderator"]))
    def promote(self, choice, other, role):
        actor, one = self.pick(choice), self.pick(other, there=False)
        if actor is None or one is None or one.waiting:
            return
        code = self.run(self.clients[actor.peer].ask(Promote(one.peer, role)))
        assert code == self.truth.promote(actor, one, role)
        self.settle()

    @rule(choice=choices, ban=st.booleans())
    def put_out(self, choice, ban):
        one = self.pick(choice, there=False, roles=("player", "viewer", "moderator"))
        if one is None:
            return
        request = Ban(one.peer) if ban else Kick(one.peer)
        assert self.staff(request) == "ok"
        gone = [one]
        if ban:
            self.truth.bans[one.subject] = None
            same = [o for o in self.truth.people.values() if o.subject == one.subject]
            gone = [each for each in same if each.role != "host"]
        for each in gone:
            if each.gone_at is None:
                client = self.clients[each.peer]
                self.run(client.until(lambda client=client: client.error))
                no = "not-admitted" if each.waiting else "kicked"
                assert client.error.code == ("banned" if ban else no)
            self.truth.remove(each.peer)
        self.settle()

    @rule(subject=st.sampled_from(SUBJECTS))
    def unban(self, subject):
        assert self.staff(Unban(subject)) == "ok"
        self.truth.bans.pop(subject, None)
        self.settle()

    # Controls

    @rule(choice=choices, control=st.sampled_from(CONTROLS))
    def request_control(self, choice, control):
        one = self.pick(choice, roles=("player", "viewer"))
        if one is None:
            return
        code = self.run(self.clients[one.peer].ask(ControlRequest(control)))
        assert code == self.truth.request(one, control)
        self.settle()

    @rule(choice=choices, control=st.sampled_from(CONTROLS))
    def grant_control(self, choice, control):
        one = self.pick(choice, there=False, roles=("player", "viewer"))
        if one is None or one.waiting:
            return
        code = self.staff(ControlGrant(control, one.peer))
        if self.truth.host is None:
            assert code == "conflict"
            return
        assert code == "ok"
        self.truth.grant(control, one.peer, None)
        self.settle()

    @rule(choice=choices, control=st.sampled_from(CONTROLS), take=st.booleans())
    def give_up_control(self, choice, control, take):
        one = self.pick(choice, roles=("player", "viewer"))
        if one is None:
            return
        held = self.truth.held[control]
        if take:
            assert self.staff(ControlTake(control)) == "ok"
        else:
            assert self.run(self.clients[one.peer].ask(ControlRelease(control))) == "ok"
            if one.peer in held.queue:
                held.queue.remove(one.peer)
        if held.holder is not None and (take or held.holder == one.peer):
            self.truth.empty(held)
        self.truth.settle()
        self.settle()

    # What must hold after each of them

    def settle(self):
        """Until everyone who is there knows what is theirs to know; it does come to that."""
        for peer in [peer for peer in self.clients if peer not in self.truth.people]:
            self.run(self.clients.pop(peer).close())
        self.run(self._settle())

    async def _settle(self):
        people = self.truth.people
        admin = people[self.admin.view.peer]
        for one in [admin, *(one for one in people.values() if one is not admin)]:
            if one.gone_at is not None or (one.waiting and one is not admin):
                continue
            client = self.admin if one is admin else self.clients[one.peer]
            try:
                await client.until(lambda one=one, client=client: self.knows(one, client))
            except TimeoutError:
                self.knows(one, client, say=True)
                raise

    def knows(self, one, client, *, say=False):
        view, truth = client.view, self.truth
        facts = {
            "role": (view.role, one.role),
            "members": (view.members, truth.members_for(one)),
            "may do": (view.may_do.get(one.peer), truth.may_do(one)),
            "bans": (view.bans, set(truth.bans) if SEES[one.role] >= {"viewer"} else set()),
            "chat": (view.chat[-1:], truth.chat[-1:]),
        }
        if one.peer in self.to_come:
            facts["said"] = (client.said, self.to_come[one.peer])
        if truth.host is not None:
            facts["controls"] = (view.controls, truth.controls())
        if say:
            for name, (known, true) in facts.items():
                assert known == true, name
        return all(known == true for known, true in facts.values())


async def replaced(websocket):
    """It ends with the word that another has taken its place."""
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(Exception):
            while True:
                await websocket.recv()
    assert websocket.close_code == 4410


@contextlib.asynccontextmanager
async def two_servers(buses):
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for bus in buses:
            options = SignallingSettings(
                verifier=issuer.verifier(), port=0, limits=NO_LIMITS, resume_window_s=600.0
            )
            server = SignallingServer(options, bus=bus)
            servers.append(await stack.enter_async_context(server))
        yield servers


def drive(runner, buses, *, examples, steps):
    stack = contextlib.AsyncExitStack()
    servers = runner.run(stack.enter_async_context(two_servers(buses)))
    machine = type("Driven", (ServerMachine,), {"runner": runner, "servers": servers})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # every step is real, and takes its time
            ),
        )
    finally:
        runner.run(stack.aclose())


def test_two_servers_of_one_process_follow_the_model():
    with asyncio.Runner() as runner:
        bus = MemoryBus()
        drive(runner, [bus, bus], examples=15, steps=25)


@pytest.fixture
def redis(tmp_path):
    with redis_server.single(tmp_path / "redis") as server:
        yield server


def test_two_servers_over_redis_follow_the_model(redis):
    with asyncio.Runner() as runner:
        connecting = [RedisBus.connect(RedisSettings(url=redis.url)) for _ in range(2)]
        buses = [runner.run(bus) for bus in connecting]
        try:
            drive(runner, buses, examples=6, steps=25)
        finally:
            for bus in buses:
                runner.run(bus.close())
