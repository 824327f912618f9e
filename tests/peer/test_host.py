"""The host: its dealings with viewers on stand-ins, and once with everything real."""

import asyncio
import errno
import json
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, Literal, cast
from unittest.mock import ANY

import aioice.ice
import aiortc
import av
import pytest
from msgspec.structs import replace

from native import (
    Codec,
    CodecStats,
    NativeError,
    Percentiles,
    RungStats,
    SourceLost,
    SrtpProfile,
    StreamFailed,
    StreamSettings,
    StreamStats,
    read_pattern,
)
from peer.connection import ConnectionEvents, ConnectionSettings, ConnectionState, InvalidState
from peer.grants import Release
from peer.host import Host, HostSettings, SourceGone
from peer.hub import HubSettings, MediaHub
from peer.report import HostReport
from peer.requests import RequestRefused
from peer.sdp import SdpError
from peer.signalling_client import (
    ClientState,
    SignallingClient,
    SignallingClientSettings,
    SignallingRefused,
)
from peer.tracks import PatternTrack
from signalling import DevIssuer, SignallingServer, SignallingSettings
from signalling.messages import (
    Admit,
    Answer,
    Ban,
    Candidate,
    ClientMessage,
    Configure,
    ControlDeny,
    ControlGrant,
    Controls,
    ControlState,
    ControlTake,
    Done,
    Grant,
    IceServer,
    Invite,
    Invited,
    Kick,
    Offer,
    PeerJoined,
    PeerLeft,
    Permission,
    Permissions,
    Promote,
    Refused,
    Restart,
    Revoke,
    Role,
    RoomRequest,
    ServerMessage,
    Trace,
    Unban,
    Welcome,
)

State = ConnectionState


class Signalling:
    """Stands for the client: says what the test says, remembers what the host sends."""

    def __init__(self) -> None:
        self.state = ClientState.JOINED
        self.trouble = ""
        self.rtt_ms: float | None = None
        self.on_state: Callable[[ClientState], None] = lambda _: None
        self.sent: list[ClientMessage] = []
        self.asked: list[RoomRequest] = []
        self.refuses: RequestRefused | None = None
        self.closed = False
        self._said: asyncio.Queue[ServerMessage | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        while (said := await self._said.get()) is not None:
            if isinstance(said, Exception):
                raise said
            yield said

    async def say(self, *messages: ServerMessage | Exception | None) -> None:
        """Returns when the host has taken them in."""
        for message in messages:
            self._said.put_nowait(message)
        await settle()

    def become(self, state: ClientState) -> None:
        self.state = state
        self.on_state(state)

    async def send(self, message: ClientMessage) -> bool:
        if self.state is not ClientState.JOINED:
            return False
        self.sent.append(message)
        return True

    async def request(self, request: RoomRequest) -> Done | Invited:
        self.asked.append(request)
        if self.refuses is not None:
            raise self.refuses
        return Invited("r1", "token", 5.0) if isinstance(request, Invite) else Done("r1")

    async def close(self) -> None:
        self.closed = True
        self._said.put_nowait(None)


class Channel:
    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[str] = []
        self.told = asyncio.Event()

    def send(self, text: str) -> None:
        self.sent.append(text)
        self.told.set()


class FakeConnection:
    """Stands for :class:`peer.Connection`."""

    def __init__(self, events: ConnectionEvents, settings: ConnectionSettings) -> None:
        self.events = events
        self.settings = settings
        self.player = settings.player
        self.state = State.NEW
        self.failure = ""
        self.answer: Any = None
        self.stream: Any = None
        self.channel = Channel()
        self.candidates: list[str] = []
        self.restarts = 0
        self.checks = 0
        self.closed = asyncio.Event()

    def become(self, state: ConnectionState) -> None:
        self.state = state
        self.events.state_changed(cast(Any, self), state)

    def create_data_channel(self, label: str, **options: object) -> Channel:
        assert label == "stats"
        return self.channel

    async def create_offer(self) -> str:
        self.become(State.OFFERED)
        return f"offer of {id(self)}"

    def send_stream(self, stream: object) -> None:
        self.stream = stream

    def restart_ice(self) -> str:
        if self.state not in (State.CONNECTED, State.DISCONNECTED):
            raise InvalidState("an ICE restart is not for this state")
        self.restarts += 1
        return f"restart {self.restarts} of {id(self)}"

    def check_path(self) -> None:
        self.checks += 1

    def set_player(self, player: bool) -> None:
        self.player = player

    async def accept_answer(self, sdp: str) -> None:
        if sdp == "bad":
            raise SdpError("there is no a=mid")
        if sdp == "bug":
            raise ZeroDivisionError
        if self.restarts:
            return
        if self.state is not State.OFFERED:
            raise InvalidState("accept_answer is not for this state")
        self.answer = SimpleNamespace(video=SimpleNamespace(codec=Codec.H264))
        self.become(State.CONNECTING)

    async def add_candidate(self, line: str) -> None:
        if line == "bad":
            raise SdpError("a candidate has eight fields")
        self.candidates.append(line)

    def stats(self) -> Any:
        return SimpleNamespace(state=self.state, media=None)

    async def close(self) -> None:
        if self.state is not State.CLOSED:
            self.become(State.CLOSED)
        self.closed.set()


class Stream:
    id = 7

    def stats(self) -> StreamStats:
        codecs = {codec: CodecStats(0, 0, 0, 0) for codec in Codec}
        rung = RungStats(0, 8_000_000, 640, 360, 60, 0, 0)
        return StreamStats(640, 360, 0, 3, 1, 0, 0, "x264", codecs, (rung,))

    def latency(self, *_: object) -> Percentiles:
        return Percentiles(1, 2_000_000, 3_000_000, 4_000_000, 5_000_000)


class Track:
    settings = StreamSettings()

    def __init__(self) -> None:
        self.stopped = False

    def open(self, hub: object) -> Stream:
        return Stream()

    def stop(self) -> None:
        self.stopped = True


class FakeHub:
    native = None

    def __init__(self) -> None:
        self.on_event: Callable[[Any], None] | None = None

    def watch_stream(self, stream_id: int, on_event: Callable[[Any], None]) -> None:
        assert stream_id == Stream.id
        self.on_event = on_event

    def unwatch_stream(self, stream_id: int) -> None:
        self.on_event = None


class Scene:
    """A host in a room of stand-ins."""

    def __init__(self, settings: HostSettings | None = None) -> None:
        self.signalling = Signalling()
        self.track = Track()
        self.hub = FakeHub()
        self.made: list[FakeConnection] = []
        self.reports: list[HostReport] = []
        self.released: list[Release] = []
        self.moved = asyncio.Event()
        self.welcomes: list[Welcome] = []
        self.make: Callable[..., Any] = self._make
        self.host = Host(
            cast(Any, self.track),
            cast(Any, self.hub),
            cast(Any, self.signalling),
            settings or HostSettings(),
            on_report=self.reports.append,
            on_release=self._released,
            on_welcome=self.welcomes.append,
            make_connection=cast(Any, lambda *given: self.make(*given)),
        )

    def _make(self, hub: object, events: ConnectionEvents, settings: Any, _: object) -> Any:
        self.made.append(FakeConnection(events, settings))
        return self.made[-1]

    async def start(self, *peers: str, ice: list[IceServer] | None = None) -> None:
        self.running = asyncio.ensure_future(self.host.run())
        await self.signalling.say(Welcome("host", "den", "host", True, list(peers), ice or []))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until a release or a report has brought it about."""
        async with asyncio.timeout(5):
            while not condition():
                self.moved.clear()
                await self.moved.wait()

    def _released(self, release: Release) -> None:
        self.released.append(release)
        self.moved.set()

    def seat_of(self, peer: str) -> str:
        """What the host's last offer to a viewer gave it."""
        return [m.seat for m in self.signalling.sent if isinstance(m, Offer) and m.peer == peer][-1]

    async def join(self, peer: str) -> FakeConnection:
        await self.signalling.say(PeerJoined(peer, "viewer"))
        return self.made[-1]

    async def play(self, peer: str) -> FakeConnection:
        """Bring a viewer all the way."""
        connection = await self.join(peer)
        await self.signalling.say(Answer(peer, "fine"))
        connection.become(State.CONNECTED)
        return connection


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene(HostSettings(max_viewers=2))
    yield scene
    await scene.host.close()


# Joining ----------------------------------------------------------------------------------------


async def test_a_viewer_is_offered_the_stream_and_its_answer_is_taken(scene: Scene) -> None:
    await scene.start()
    connection = await scene.join("anna")
    [offer] = scene.signalling.sent
    assert offer == Offer("anna", f"offer of {id(connection)}", scene.seat_of("anna"))
    assert isinstance(connection.stream, Stream)
    assert (connection.settings.video.width, connection.settings.video.height) == (640, 360)
    await scene.signalling.say(Answer("anna", "fine"), Candidate("anna", "1 1 udp …"))
    assert connection.state is State.CONNECTING
    assert connection.candidates == ["1 1 udp …"]


async def test_viewers_who_were_there_first_are_offered_too(scene: Scene) -> None:
    await scene.start("anna", "bob")
    assert [m.peer for m in scene.signalling.sent if isinstance(m, Offer)] == ["anna", "bob"]
    ssrcs = {connection.settings.video.ssrc for connection in scene.made}
    assert len(ssrcs) == 2


async def test_what_a_viewers_coming_took_belongs_to_its_trace(scene: Scene) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await scene.start()
    for peer in ("anna", "bob"):
        await scene.signalling.say(PeerJoined(peer, "viewer", traceparent=trace))
        await scene.signalling.say(Answer(peer, "fine"))
        scene.made[-1].become(State.CONNECTED)
    await settle()
    [report] = [said for said in scene.signalling.sent if isinstance(said, Trace)]
    assert report.traceparent == trace
    assert [span.name for span in report.spans] == ["host.prepare", "host.connect"]


async def test_candidates_follow_the_offer(scene: Scene) -> None:
    await scene.start()
    connection = await scene.join("anna")
    connection.events.candidate(cast(Any, connection), "2 1 udp …")
    connection.events.candidate(cast(Any, connection), "")
    await settle()
    assert scene.signalling.sent[1:] == [Candidate("anna", "2 1 udp …"), Candidate("anna", "")]


async def test_signallings_ice_servers_are_used_and_bad_ones_left_out(scene: Scene) -> None:
    ice = [IceServer(["turn:127.0.0.1:3478"], "u", "p"), IceServer(["http://127.0.0.1"])]
    await scene.start(ice=[*ice, ice[0]])
    connection = await scene.join("anna")
    servers = connection.settings.ice.servers
    assert [(s.url, s.username, s.credential) for s in servers] == [
        ("turn:127.0.0.1:3478", "u", "p")
    ]


@pytest.mark.parametrize("cm80", [False, True])
async def test_counter_mode_is_offered_only_when_asked_for(cm80: bool) -> None:
    scene = Scene(HostSettings(cm80=cm80))
    await scene.start()
    profiles = (await scene.join("anna")).settings.srtp_profiles
    assert (SrtpProfile.AES128_CM_SHA1_80 in profiles) is cm80
    assert SrtpProfile.AEAD_AES_128_GCM in profiles
    await scene.host.close()


# Bad input --------------------------------------------------------------------------------------


async def test_bad_input_is_counted_and_touches_nobody_else(scene: Scene) -> None:
    await scene.start()
    good = await scene.play("anna")
    bad = await scene.join("eve")
    await scene.signalling.say(
        Answer("eve", "bad"),
        Candidate("eve", "bad"),
        Answer("anna", "fine"),  # a second answer
        Answer("nobody", "fine"),
        Candidate("nobody", "bad"),
    )
    assert scene.host.bad_input == 3
    assert good.state is State.CONNECTED
    await scene.signalling.say(Answer("eve", "fine"))  # a better one may follow
    assert bad.state is State.CONNECTING
    assert not scene.running.done()


async def test_a_mistake_of_ours_costs_one_viewer(scene: Scene) -> None:
    await scene.start()
    good = await scene.play("anna")
    unlucky = await scene.join("eve")
    await scene.signalling.say(Answer("eve", "bug"))
    assert unlucky.state is State.CLOSED
    assert good.state is State.CONNECTED
    assert not scene.running.done()


async def test_a_full_hub_costs_only_who_comes_last(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.start()
    good = await scene.play("anna")

    def full(*_: object) -> Any:
        raise NativeError(errno.ENOSPC, "the hub holds no more peers")

    scene.make = full
    await scene.signalling.say(PeerJoined("eve", "viewer"))
    assert "the hub holds no more peers" in caplog.text
    assert scene.host.viewers == ("anna",)
    assert scene.signalling.sent[-1] == Refused("eve", "The host cannot take another viewer now.")
    assert good.state is State.CONNECTED
    assert not scene.running.done()


async def test_a_viewer_that_never_answers_is_given_up() -> None:
    scene = Scene(HostSettings(answer_timeout_s=0.01))
    await scene.start()
    connection = await scene.join("anna")
    await connection.closed.wait()
    assert scene.host.viewers == ()
    assert connection.state is State.CLOSED
    await scene.host.close()


async def test_who_has_answered_is_not_given_up() -> None:
    scene = Scene(HostSettings(answer_timeout_s=0.01))
    await scene.start()
    await scene.play("anna")
    silent = await scene.join("eve")
    await silent.closed.wait()  # as long as it takes for one who has not
    assert scene.host.viewers == ("anna",)
    await scene.host.close()


# Leaving ----------------------------------------------------------------------------------------


async def test_a_bye_closes_the_connection(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.signalling.say(PeerLeft("anna", "viewer", "bye"))
    assert connection.state is State.CLOSED
    assert scene.host.viewers == ()


async def test_media_goes_on_while_a_viewer_is_away(scene: Scene) -> None:
    await scene.start()
    playing = await scene.play("anna")
    on_its_way = await scene.join("bob")
    seats = {"anna": scene.seat_of("anna"), "bob": ""}  # bob has not had his offer yet
    scene.signalling.sent.clear()
    for away in (True, False):
        for peer, seat in seats.items():
            await scene.signalling.say(PeerJoined(peer, "viewer", seat=seat, away=away))
    assert playing.state is State.CONNECTED
    assert playing.restarts == 0
    # What bob was offered may be lost.
    assert scene.signalling.sent == [Offer("bob", f"offer of {id(on_its_way)}", ANY)]
    await scene.signalling.say(Answer("bob", "fine"), Answer("bob", "fine"))
    assert on_its_way.state is State.CONNECTING
    assert scene.host.bad_input == 0, "both offers were answered"


async def test_who_was_silent_and_is_back_is_looked_for_anew(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    card = PeerJoined("anna", "viewer", seat=scene.seat_of("anna"))
    await scene.signalling.say(replace(card, away=True))
    connection.become(State.DISCONNECTED)
    await scene.signalling.say(card)
    assert connection.restarts == 1


@pytest.mark.parametrize("away_first", [True, False])
async def test_who_is_back_without_its_seat_begins_anew(scene: Scene, away_first: bool) -> None:
    await scene.start()
    first = await scene.play("anna")
    if away_first:
        await scene.signalling.say(PeerJoined("anna", "viewer", away=True))
    await scene.signalling.say(PeerJoined("anna", "viewer"))
    assert first.state is State.CLOSED
    assert scene.host.viewers == ("anna",)
    assert len(scene.made) == 2


async def test_another_role_changes_no_connection(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.signalling.say(PeerJoined("anna", "moderator"))
    assert scene.made == [connection]


@pytest.mark.parametrize("reason", ["bye", "lost", "kicked"])
async def test_who_has_left_gets_nothing_more(
    scene: Scene, reason: Literal["bye", "lost", "kicked"]
) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.signalling.say(PeerLeft("anna", "viewer", reason))
    assert connection.state is State.CLOSED
    assert scene.host.viewers == ()


async def test_who_waits_to_be_let_in_gets_nothing(scene: Scene) -> None:
    await scene.start()
    scene.signalling.sent.clear()
    await scene.signalling.say(PeerJoined("anna", "viewer", waiting=True))
    assert (scene.made, scene.signalling.sent) == ([], [])
    await scene.signalling.say(PeerJoined("anna", "viewer", traceparent="00-1-2-01"))
    assert scene.host.viewers == ("anna",)


@pytest.mark.parametrize("role", ["viewer", "player", "moderator", "admin"])
async def test_everyone_who_may_watch_is_offered_the_stream(scene: Scene, role: Role) -> None:
    await scene.start()
    await scene.signalling.say(PeerJoined("anna", role), PeerJoined("host", "host"))
    assert scene.host.viewers == ("anna",)


async def test_who_may_not_watch_is_sent_nothing(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.signalling.say(Permissions("anna", [Permission("speak")]))
    assert connection.state is State.CLOSED
    await scene.signalling.say(
        Restart("anna"), PeerJoined("anna", "viewer", away=True), PeerJoined("anna", "viewer")
    )
    assert scene.host.viewers == ()
    await scene.signalling.say(Permissions("anna", [Permission("watch")]))
    assert scene.host.viewers == ("anna",)


async def test_a_viewer_that_comes_back_with_its_seat_goes_on(scene: Scene) -> None:
    """Its address has changed: another peer id, the same connection, another path."""
    await scene.start()
    connection = await scene.play("anna")
    seat = scene.seat_of("anna")
    connection.become(State.DISCONNECTED)
    await scene.signalling.say(PeerJoined("anna2", "viewer", seat=seat))
    assert scene.made == [connection]
    assert scene.host.viewers == ("anna2",)
    assert scene.signalling.sent[-1] == Offer("anna2", f"restart 1 of {id(connection)}", seat)
    await scene.signalling.say(Answer("anna2", "fine"), Candidate("anna2", "1 1 udp …"))
    assert connection.candidates == ["1 1 udp …"]
    await scene.signalling.say(Restart("anna2"))
    assert connection.restarts == 1, "it was under way already"
    # Only now does the server give the old seat up: it is nobody's any more.
    await scene.signalling.say(PeerLeft("anna", "viewer", "lost"))
    assert scene.host.viewers == ("anna2",)
    assert connection.state is State.DISCONNECTED
    assert not connection.closed.is_set()


@pytest.mark.parametrize("seat", ["", "somebody-elses"])
async def test_a_seat_that_is_none_gets_a_connection_of_its_own(scene: Scene, seat: str) -> None:
    await scene.start()
    first = await scene.play("anna")
    await scene.signalling.say(PeerJoined("eve", "viewer", seat=seat))
    assert len(scene.made) == 2
    assert scene.host.viewers == ("anna", "eve")
    assert first.restarts == 0
    assert scene.seat_of("eve") not in ("", seat, scene.seat_of("anna"))


async def test_a_seat_whose_connection_never_stood_begins_anew(scene: Scene) -> None:
    await scene.start()
    first = await scene.join("anna")
    await scene.signalling.say(PeerJoined("anna2", "viewer", seat=scene.seat_of("anna")))
    assert first.closed.is_set()
    assert scene.host.viewers == ("anna2",)
    assert len(scene.made) == 2


async def test_a_viewer_may_ask_for_a_restart_now_and_then(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.signalling.say(*[Restart("anna")] * 50)
    assert connection.restarts == 1
    assert scene.signalling.sent[-1] == Offer(
        "anna", f"restart 1 of {id(connection)}", scene.seat_of("anna")
    )
    early = await scene.join("bob")
    await scene.signalling.say(Restart("bob"))
    assert early.restarts == 0
    # What was offered to the old name may never have arrived.
    await scene.signalling.say(PeerJoined("anna2", "viewer", seat=scene.seat_of("anna")))
    assert connection.restarts == 1
    await scene.signalling.say(Restart("anna2"))
    assert connection.restarts == 2


async def test_who_is_silent_is_offered_anew_when_the_host_is_back(scene: Scene) -> None:
    await scene.start()
    silent, fine = await scene.play("anna"), await scene.play("bob")
    silent.become(State.DISCONNECTED)
    await scene.signalling.say(Welcome("host2", "den", "host", True, ["anna", "bob"]))
    assert (silent.restarts, fine.restarts) == (1, 0)


async def test_a_failed_connection_is_forgotten(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    other = await scene.play("bob")
    connection.failure = "the viewer stopped answering"
    connection.become(State.FAILED)
    await settle()
    assert connection.state is State.CLOSED
    assert scene.host.viewers == ("bob",)
    assert other.state is State.CONNECTED


async def test_disconnect_ends_one_viewer(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.host.disconnect("anna")
    assert connection.state is State.CLOSED
    with pytest.raises(KeyError):
        await scene.host.disconnect("anna")


async def test_a_reconnect_keeps_what_plays_and_offers_the_rest_anew(scene: Scene) -> None:
    await scene.start()
    playing = await scene.play("anna")
    offered = await scene.join("bob")
    scene.signalling.sent.clear()
    await scene.signalling.say(Welcome("host-2", "den", "host", True, ["anna", "bob"]))
    assert playing.state is State.CONNECTED
    assert scene.signalling.sent == [Offer("bob", f"offer of {id(offered)}", ANY)]
    assert set(scene.host.viewers) == {"anna", "bob"}


async def test_a_session_that_goes_on_goes_on(scene: Scene) -> None:
    """Resumed, with all that was missed to follow: who is not named in it is not gone."""
    await scene.start()
    playing, offered = await scene.play("anna"), await scene.join("bob")
    scene.signalling.sent.clear()
    await scene.signalling.say(Welcome("host", "den", "host", True, [], resumed=True))
    assert (playing.state, playing.checks) == (State.CONNECTED, 0)
    assert scene.signalling.sent == [Offer("bob", f"offer of {id(offered)}", ANY)]
    assert len(scene.welcomes) == 1


@pytest.mark.parametrize("resumed", [False, True])
async def test_whom_a_new_account_of_the_room_does_not_name_may_come_by_its_seat(
    scene: Scene, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.audience.RETURN_PATIENCE_S", 0.02)
    await scene.start()
    anna, bob = await scene.play("anna"), await scene.play("bob")
    again = Welcome("host", "den", "host", True, [], resumed=resumed, complete=False)
    await scene.signalling.say(again)
    assert (anna.checks, bob.checks) == (1, 1)
    await scene.signalling.say(PeerJoined("anna2", "viewer", seat=scene.seat_of("anna")))
    await bob.closed.wait()
    assert scene.host.viewers == ("anna2",)
    assert anna.state is State.CONNECTED


async def test_who_is_back_first_is_known_by_its_seat(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    card = PeerJoined("anna2", "viewer", seat=scene.seat_of("anna"))
    await scene.signalling.say(Welcome("host2", "den", "host", True, ["anna2"], members=[card]))
    assert scene.host.viewers == ("anna2",)
    assert scene.made == [connection]


async def test_what_is_said_without_a_link_is_said_when_it_is_back(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    scene.signalling.sent.clear()
    scene.signalling.become(ClientState.WAITING)
    connection.events.candidate(cast(Any, connection), "2 1 udp …")
    await settle()
    scene.signalling.become(ClientState.JOINED)
    await scene.signalling.say(Welcome("host", "den", "host", True, [], resumed=True))
    assert scene.signalling.sent == [Candidate("anna", "2 1 udp …")]


async def test_a_viewer_without_a_connection_may_ask_for_one(scene: Scene) -> None:
    await scene.start()
    first = await scene.play("anna")
    first.become(State.FAILED)
    await settle()
    await scene.signalling.say(Restart("anna"))
    assert len(scene.made) == 2
    assert scene.host.viewers == ("anna",)


# Places -----------------------------------------------------------------------------------------


async def test_who_finds_no_place_waits_for_one(scene: Scene) -> None:
    await scene.start()
    first = await scene.play("anna")
    await scene.play("bob")
    await scene.join("carl")
    await scene.join("dora")
    assert scene.host.waiting == ("carl", "dora")
    words = "Every place is taken: the host lets 2 watch at a time."
    assert scene.signalling.sent[-2:] == [Refused("carl", words), Refused("dora", words)]
    assert len(scene.made) == 2
    first.become(State.CLOSED)
    await settle()
    assert scene.host.viewers == ("bob", "carl")
    assert scene.host.waiting == ("dora",)
    await scene.signalling.say(PeerLeft("dora", "viewer", "lost"))
    assert scene.host.waiting == ()


async def test_who_is_missing_in_a_room_that_began_anew_makes_room(scene: Scene) -> None:
    await scene.start()
    gone = await scene.play("anna")
    await scene.play("bob")
    await scene.signalling.say(Welcome("host2", "den", "host", True, ["bob"]))
    await scene.join("anna-again")
    assert gone.state is State.CLOSED
    assert set(scene.host.viewers) == {"bob", "anna-again"}


async def test_who_has_been_silent_for_long_makes_room(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.start()
    await scene.play("anna")
    silent = await scene.play("bob")
    silent.become(State.DISCONNECTED)
    await scene.join("carl")
    assert scene.host.waiting == ("carl",), "the place of one that may be back at once is kept"
    monkeypatch.setattr("peer.audience.SILENT_PATIENCE_S", 1e-9)
    silent.become(State.CONNECTED)
    await scene.join("dora")
    assert scene.host.viewers == ("anna", "bob")
    silent.become(State.DISCONNECTED)
    await scene.join("emil")
    assert silent.state is State.CLOSED
    assert "bob" not in scene.host.viewers


# The end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "words"),
    [(SourceLost(7), "closed"), (StreamFailed(7, "out of memory"), "out of memory")],
)
async def test_a_lost_source_ends_the_run(scene: Scene, event: object, words: str) -> None:
    await scene.start()
    connection = await scene.play("anna")
    assert scene.hub.on_event is not None
    scene.hub.on_event(event)
    with pytest.raises(SourceGone, match=words):
        await scene.running
    await scene.host.close()
    assert scene.signalling.closed
    assert connection.state is State.CLOSED
    assert scene.track.stopped


async def test_a_refusal_ends_the_run(scene: Scene) -> None:
    await scene.start()
    await scene.signalling.say(SignallingRefused("token-expired", "the token has expired"))
    with pytest.raises(SignallingRefused, match="expired"):
        await scene.running


async def test_close_ends_the_run_in_order(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    closed_before: list[bool] = []
    scene.track.stop = lambda: closed_before.append(  # type: ignore[method-assign]
        scene.signalling.closed and connection.state is State.CLOSED
    )
    await scene.host.close()
    await scene.running
    assert closed_before == [True]


# Grants and moderation ---------------------------------------------------------------------------


def may(peer: str, *capabilities: str, until: float | None = None) -> Permissions:
    return Permissions(peer, [Permission("watch"), *(Permission(c, until) for c in capabilities)])


async def test_the_host_allows_what_the_room_grants(scene: Scene) -> None:
    await scene.start()
    connection = await scene.play("anna")
    assert not scene.host.allows("anna", "pad:1")
    await scene.signalling.say(Controls([ControlState("pad:1", "anna")], "granted"))
    assert not scene.host.allows("anna", "pad:1"), "who holds a control is not yet who may use it"
    await scene.signalling.say(may("anna", "pad:1"))
    assert scene.host.allows("anna", "pad:1")
    assert connection.player
    now = scene.host.room.now()
    assert scene.host.grants.press("anna", "pad:1", "A", now)
    await scene.signalling.say(Controls([ControlState("pad:1", "bob")], "given"))
    assert scene.released == [Release("anna", "pad:1", ("A",), "handed over")]
    assert not scene.host.allows("anna", "pad:1")
    assert not connection.player


async def test_a_player_that_comes_gets_the_players_priority(scene: Scene) -> None:
    await scene.start()
    await scene.signalling.say(Controls([ControlState("mouse", "anna")], "granted"))
    assert (await scene.join("anna")).settings.player
    assert not (await scene.join("bob")).settings.player


async def test_a_grant_ends_by_the_rooms_clock(scene: Scene) -> None:
    scene.running = asyncio.ensure_future(scene.host.run())
    ahead = Welcome("host", "den", "host", True, [], at=time.time() + 5000)
    await scene.signalling.say(ahead)
    await scene.signalling.say(may("anna", "pad:1", until=time.time() + 5000.05))
    assert scene.host.allows("anna", "pad:1")
    scene.host.grants.press("anna", "pad:1", "A", scene.host.room.now())
    await scene.until(lambda: bool(scene.released))
    assert scene.released == [Release("anna", "pad:1", ("A",), "ended")]
    assert not scene.host.allows("anna", "pad:1")


@pytest.mark.parametrize("how", ["left", "silent", "closed"])
async def test_nothing_stays_pressed(scene: Scene, how: str) -> None:
    await scene.start()
    connection = await scene.play("anna")
    await scene.signalling.say(may("anna", "pad:1"))
    scene.host.grants.press("anna", "pad:1", "A", scene.host.room.now())
    if how == "left":
        await scene.signalling.say(PeerLeft("anna", "player", "bye"))
    else:
        connection.become(State.DISCONNECTED if how == "silent" else State.CLOSED)
    let_go = [release for release in scene.released if release.held]
    reason = "left" if how == "left" else "disconnected"
    assert let_go == [Release("anna", "pad:1", ("A",), reason)]
    assert scene.host.allows("anna", "pad:1") is (how != "left")


async def test_grants_outlive_the_link_for_as_long_as_our_place_is_kept(scene: Scene) -> None:
    scene.running = asyncio.ensure_future(scene.host.run())
    kept = Welcome("host", "den", "host", True, [], resume_window_s=0.05)
    await scene.signalling.say(kept, may("anna", "pad:1"))
    scene.signalling.become(ClientState.WAITING)
    scene.signalling.become(ClientState.CONNECTING)
    assert scene.host.allows("anna", "pad:1")
    await scene.until(lambda: not scene.host.allows("anna", "pad:1"))
    assert Release("anna", "pad:1", (), "cut off") in scene.released
    scene.signalling.become(ClientState.JOINED)
    await scene.signalling.say(Welcome("host", "den", "host", True, [], resumed=True))
    assert scene.host.allows("anna", "pad:1"), "the session goes on"
    await scene.signalling.say(Welcome("host2", "den", "host", True, ["anna"]))
    assert not scene.host.allows("anna", "pad:1"), "a room that begins anew has other holders"


async def test_the_room_is_run_as_the_settings_say() -> None:
    wanted = Configure(policy="approval", pads=2)
    scene = Scene(HostSettings(room=wanted))
    await scene.start()
    assert (scene.signalling.asked, len(scene.welcomes)) == ([wanted], 1)
    await scene.signalling.say(Welcome("host", "den", "host", True, [], resumed=True))
    assert len(scene.signalling.asked) == 1, "a session that goes on has them"
    scene.signalling.refuses = RequestRefused("forbidden", "not here")
    await scene.signalling.say(Welcome("host2", "den", "host", True))
    assert len(scene.welcomes) == 2, "without them it goes on too"
    await scene.host.close()


async def test_the_host_runs_its_room(scene: Scene) -> None:
    await scene.start()
    host = scene.host
    await host.admit("anna")
    await host.kick("anna", "enough")
    await host.ban("anna", for_s=60.0)
    await host.unban("sub")
    await host.promote("anna", "player")
    await host.grant_control("anna", "pad:1", for_s=120.0)
    await host.deny_control("bob", "pad:1")
    await host.take_control("pad:1")
    await host.grant("anna", "clipboard")
    await host.revoke("anna", "clipboard")
    await host.configure(locked=True)
    assert (await host.invite("player")).token == "token"
    assert scene.signalling.asked == [
        Admit("anna"),
        Kick("anna", "enough"),
        Ban("anna", 60.0),
        Unban("sub"),
        Promote("anna", "player"),
        ControlGrant("pad:1", "anna", 120.0),
        ControlDeny("pad:1", "bob"),
        ControlTake("pad:1"),
        Grant("anna", "clipboard"),
        Revoke("anna", "clipboard"),
        Configure(locked=True),
        Invite("player"),
    ]
    scene.signalling.refuses = RequestRefused("unknown-peer", "there is no peer eve")
    with pytest.raises(RequestRefused, match="no peer eve"):
        await host.kick("eve")
    with pytest.raises(TypeError):
        await host.configure(lokced=True)


# Reports ----------------------------------------------------------------------------------------


async def test_viewers_and_owner_get_reports() -> None:
    scene = Scene(HostSettings(report_interval_s=0.005))
    await scene.start()
    connection = await scene.play("anna")
    stuck = await scene.play("bob")
    stuck.channel.bufferedAmount = 10**6
    scene.signalling.state, scene.signalling.trouble = ClientState.WAITING, "no route"
    connection.channel.told.clear()  # a report may have come before both were there
    await connection.channel.told.wait()
    await settle()
    await scene.host.close()
    message = json.loads(connection.channel.sent[-1])
    assert message["viewers"] == 2
    assert message["codec"] == "H264"
    assert message["drops"] == {"skipped": 3, "late": 1}
    assert message["stages"]["encode"] == {"p50_ms": 2.0, "p99_ms": 4.0}
    assert stuck.channel.sent == []
    assert scene.reports[-1].trouble == "no route"
    assert [viewer.state for viewer in scene.reports[-1].viewers] == ["connected", "connected"]


@pytest.mark.parametrize("field", ["max_viewers", "answer_timeout_s", "report_interval_s"])
def test_settings_name_what_makes_no_sense(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        HostSettings(**{field: 0})


# Everything real --------------------------------------------------------------------------------


async def watch(url: str, token: str, frames: int) -> tuple[list[int], dict[str, Any]]:
    """A plain aiortc viewer: the numbers of the first frames, and a message of stats."""
    settings = SignallingClientSettings(url=url, token=token, room="den", role="viewer")
    pc = aiortc.RTCPeerConnection()
    stats: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @pc.on("datachannel")  # type: ignore[misc]
    def opened(channel: aiortc.RTCDataChannel) -> None:
        assert channel.label == "stats"
        channel.on("message", lambda text: stats.done() or stats.set_result(text))

    try:
        async with SignallingClient(settings) as me:
            messages = aiter(me)
            while not isinstance(message := await anext(messages), Offer):
                pass
            await pc.setRemoteDescription(aiortc.RTCSessionDescription(message.sdp, "offer"))
            await pc.setLocalDescription(await pc.createAnswer())
            await me.send(Answer(message.peer, pc.localDescription.sdp))
            receiver = pc.getReceivers()[0]
            numbers = []
            while len(numbers) < frames:
                frame = await receiver.track.recv()
                assert isinstance(frame, av.VideoFrame)
                code = read_pattern(frame.to_ndarray(format="gray"))
                assert code is not None
                numbers.append(code.frame)
            return numbers, json.loads(await stats)
    finally:
        await pc.close()


async def test_two_plain_viewers_watch_one_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    issuer = DevIssuer.generate()
    server = SignallingServer(SignallingSettings(verifier=issuer.verifier(), port=0))
    hub = MediaHub(HubSettings(bind=("127.0.0.1",)))
    track = PatternTrack(320, 180, settings=StreamSettings(fps=30, bitrate=1_000_000))
    async with server, asyncio.timeout(30):
        client = SignallingClient(
            SignallingClientSettings(
                url=server.websocket_url, token=issuer.mint("h", "den", "host"), room="den"
            )
        )
        settings = HostSettings(report_interval_s=0.1, cm80=True)
        async with Host(track, hub, client, settings) as host:
            running = asyncio.ensure_future(host.run())
            token = issuer.mint("v", "den", "viewer")
            results = await asyncio.gather(
                *(watch(server.websocket_url, token, 20) for _ in range(2))
            )
            stream = track.open(hub.native)
            counts = stream.stats().codecs
        await running
        await hub.close()
    for numbers, stats in results:
        assert numbers == sorted(set(numbers))
        assert stats["width"] == 320
        assert stats["viewers"] >= 1
    encoded = sum(count.encoded for count in counts.values())
    assert encoded <= 1 + max(numbers[-1] for numbers, _ in results) * 1.5
