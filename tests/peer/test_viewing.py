"""A viewer's session, through a real signalling server and a real host, and where it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import TypeVar

import pytest
from msgspec.structs import replace

from native import Source, Stream, StreamSettings
from peer.connection import Connection, ConnectionSettings, ConnectionState
from peer.hub import HubSettings, MediaHub
from peer.receiving import ReceivingConnection, ReceivingSettings
from peer.requests import RequestRefused
from peer.sdp import VideoOffer
from peer.signalling_client import ClientState
from peer.spans import ROOT_SPAN, Spans
from peer.viewing import (
    FIRST_PAUSE_S,
    HANG_UP_S,
    NoPicture,
    Viewing,
    ViewingSettings,
    ViewingState,
)
from signalling import messages

from .viewer import use_loopback

T = TypeVar("T", bound=messages.ClientMessage)


class Room:
    """Stands for a SignallingClient in a room: the test says what comes, and sees what is sent."""

    def __init__(self, *come: messages.ServerMessage) -> None:
        self.sent: asyncio.Queue[messages.ClientMessage] = asyncio.Queue()
        self.state = ClientState.JOINED
        self.trouble = ""
        self.rtt_ms: float | None = None
        self.seat = ""
        self.asked: list[messages.ControlRequest] = []
        self.refuses: RequestRefused | None = None
        self.reconnected: asyncio.Queue[str] = asyncio.Queue()
        self._come: asyncio.Queue[messages.ServerMessage | Exception | None] = asyncio.Queue()
        for message in come:
            self._come.put_nowait(message)

    def come(self, message: messages.ServerMessage | Exception) -> None:
        self._come.put_nowait(message)

    async def send(self, message: messages.ClientMessage) -> bool:
        self.sent.put_nowait(message)
        return True

    async def request(self, request: messages.ControlRequest) -> messages.Done:
        self.asked.append(request)
        if self.refuses is not None:
            raise self.refuses
        return messages.Done("r1")

    async def reconnect(self) -> None:
        self.reconnected.put_nowait(self.seat)
        self.come(replace(WELCOME, resumed=True))

    async def close(self) -> None:
        self._come.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[messages.ServerMessage]:
        while (message := await self._come.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message


WELCOME = messages.Welcome("viewer", "play", "viewer", host_present=True, peers=["host"])


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loopback(monkeypatch)


class Scene:
    """A stream, a viewing hub, and a room."""

    def __init__(self, hub: MediaHub, own: MediaHub, stream: Stream) -> None:
        self.hub, self.own, self.stream = hub, own, stream
        self.room = Room(WELCOME)
        self.news: asyncio.Queue[str] = asyncio.Queue()
        self.hosts: list[Connection] = []
        self.tracks: asyncio.Queue[ReceivingConnection] = asyncio.Queue()
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.viewing: Viewing
        self.run: asyncio.Task[None]

    def begin(
        self,
        *,
        patience_s: float = 20.0,
        asks: tuple[str, ...] = (),
        spans: Spans | None = None,
    ) -> Room:
        settings = ViewingSettings(
            ReceivingSettings(read_pattern=True), patience_s=patience_s, asks=asks
        )
        self.viewing = Viewing(
            self.hub,
            self.room,  # type: ignore[arg-type]
            settings,
            on_track=self.tracks.put_nowait,
            on_message=self.told.put_nowait,
            on_news=self.news.put_nowait,
            spans=spans,
        )
        self.run = asyncio.create_task(self.viewing.run())
        return self.room

    async def heard(self, count: int) -> list[str]:
        """The next news."""
        async with asyncio.timeout(20):
            return [await self.news.get() for _ in range(count)]

    async def offer(self, seat: str = "") -> Connection:
        """A host's connection whose offer is answered."""
        room = self.room
        video = VideoOffer(width=320, height=180, fps=30)
        host = Connection(self.own, None, ConnectionSettings(video=video))
        self.hosts.append(host)
        host.send_stream(self.stream)
        room.come(messages.Offer("host", await host.create_offer(), seat))
        answer = await self.sent(room, messages.Answer)
        await host.accept_answer(answer.sdp)
        return host

    async def sent(self, room: Room, kind: type[T]) -> T:
        """The next message of that kind."""
        async with asyncio.timeout(20):
            while True:
                message = await room.sent.get()
                if isinstance(message, kind):
                    return message

    async def picture(self) -> ReceivingConnection:
        """The next connection, once it has a picture."""
        async with asyncio.timeout(20):
            connection = await self.tracks.get()
            assert connection.track is not None
            picture = await connection.track.recv_picture()
            assert picture.frame.pattern is not None
        return connection


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        hubs = [MediaHub(HubSettings(bind=("127.0.0.1",))) for _ in range(2)]
        for hub in hubs:
            stack.push_async_callback(hub.close)
        settings = StreamSettings(fps=30, bitrate=1_000_000, idr_interval_ms=50)
        stream = stack.enter_context(Stream(Source.pattern(320, 180), settings, hubs[1].native))
        scene = Scene(*hubs, stream)
        yield scene
        await scene.viewing.close()
        with suppress(NoPicture, asyncio.CancelledError):
            await asyncio.wait_for(scene.run, 10)
        for host in scene.hosts:
            await host.close()


async def test_the_picture_comes_and_the_hosts_bye_is_the_end(scene: Scene) -> None:
    room = scene.begin()
    host = await scene.offer(seat="a-seat")
    connection = await scene.picture()
    assert scene.viewing.state is ViewingState.CONNECTED
    assert (scene.viewing.trouble, room.seat) == ("", "a-seat")
    assert connection is scene.viewing.connection
    assert host.state is ConnectionState.CONNECTED
    room.come(messages.PeerLeft("host", "host", "bye"))
    await asyncio.wait_for(scene.run, 10)
    assert scene.viewing.state is ViewingState.CLOSED
    assert connection.state is ConnectionState.CLOSED


async def test_candidates_go_both_ways_and_bad_ones_do_no_harm(scene: Scene) -> None:
    room = scene.begin()
    room.come(messages.Candidate("host", "early"))
    await scene.offer()
    room.come(messages.Candidate("host", "nonsense"))
    room.come(messages.Candidate("host", ""))
    await scene.picture()


async def test_what_the_host_tells_is_heard(scene: Scene) -> None:
    room = scene.begin()
    video = VideoOffer(width=320, height=180, fps=30)
    host = Connection(scene.own, None, ConnectionSettings(video=video))
    scene.hosts.append(host)
    channel = host.create_data_channel("stats", ordered=False, max_retransmits=0)
    host.send_stream(scene.stream)
    room.come(messages.Offer("host", await host.create_offer()))
    await host.accept_answer((await scene.sent(room, messages.Answer)).sdp)
    opened = asyncio.Event()
    channel.on("open", opened.set)
    async with asyncio.timeout(20):
        if channel.readyState != "open":
            await opened.wait()
        channel.send("{}")
        channel.send(b"no text")
        channel.send("[]")
        assert [await scene.told.get() for _ in range(2)] == ["{}", "[]"]


async def test_an_ice_restart_keeps_the_session(scene: Scene) -> None:
    room = scene.begin()
    host = await scene.offer()
    connection = await scene.picture()
    room.come(messages.Offer("host", host.restart_ice()))
    await host.accept_answer((await scene.sent(room, messages.Answer)).sdp)
    assert connection.track is not None
    async with asyncio.timeout(20):
        for _ in range(10):
            await connection.track.recv_picture()
    assert scene.viewing.connection is connection
    assert scene.tracks.empty()


async def test_another_host_takes_the_place_of_the_first(scene: Scene) -> None:
    scene.begin()
    await scene.offer()
    first = await scene.picture()
    await scene.offer()
    second = await scene.picture()
    assert second is not first
    assert scene.viewing.connection is second


async def test_a_connection_that_is_hung_up_is_begun_again(scene: Scene) -> None:
    """Over another link to the server, without the seat: the session in the room goes on."""
    room = scene.begin()
    host = await scene.offer(seat="a-seat")
    first = await scene.picture()
    await host.close()
    assert await asyncio.wait_for(room.reconnected.get(), 20) == ""
    await scene.offer()
    assert await scene.picture() is not first


@pytest.mark.parametrize("after_s", [0.0, HANG_UP_S + FIRST_PAUSE_S / 2])
async def test_a_host_that_offers_by_itself_needs_no_other_link(
    scene: Scene, after_s: float
) -> None:
    """At once, or while another link is about to be asked for."""
    room = scene.begin()
    host = await scene.offer()
    await scene.picture()
    closed, tell = asyncio.Event(), scene.viewing.state_changed

    def changed(connection: ReceivingConnection, state: ConnectionState) -> None:
        tell(connection, state)
        if state is ConnectionState.CLOSED:
            closed.set()

    scene.viewing.state_changed = changed  # type: ignore[method-assign]
    await host.close()
    await asyncio.wait_for(closed.wait(), 10)
    await asyncio.sleep(after_s)
    await scene.offer()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(room.reconnected.get(), HANG_UP_S + FIRST_PAUSE_S + 0.3)
    assert scene.viewing.state is ViewingState.CONNECTED


async def test_an_offer_that_comes_twice_is_answered_twice_alike(scene: Scene) -> None:
    room = scene.begin()
    video = VideoOffer(width=320, height=180, fps=30)
    host = Connection(scene.own, None, ConnectionSettings(video=video))
    scene.hosts.append(host)
    host.send_stream(scene.stream)
    offer = messages.Offer("host", await host.create_offer(), "a-seat")
    room.come(offer)
    first = await scene.sent(room, messages.Answer)
    room.come(offer)
    assert await scene.sent(room, messages.Answer) == first
    await host.accept_answer(first.sdp)
    await scene.picture()


async def test_a_session_that_goes_on_keeps_the_picture(scene: Scene) -> None:
    room = scene.begin(asks=("pad:1",))
    await scene.offer()
    connection = await scene.picture()
    room.come(replace(WELCOME, resumed=True))
    room.come(messages.PeerJoined("viewer", "player"))
    assert await scene.heard(2) == ["You are in the room, as a viewer.", "You are a player now."]
    assert scene.viewing.connection is connection
    assert room.asked == [messages.ControlRequest("pad:1")], "asked for once"


async def test_the_way_to_the_first_picture_is_reported_once(scene: Scene) -> None:
    spans = Spans("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    spans.begin(ROOT_SPAN)
    room = scene.begin(spans=spans)
    room.state = ClientState.WAITING
    await scene.offer()
    await scene.picture()
    room.state = ClientState.JOINED  # nobody could be told before
    report = await scene.sent(room, messages.Trace)
    assert report.traceparent == "", "it belongs to the hello's"
    times = {span.name: (span.start_ms, span.start_ms + span.duration_ms) for span in report.spans}
    steps = ["host.offer", "offer.answer", "ice", "dtls", "first-frame.receive"]
    assert list(times) == [*steps, "first-frame.decode", ROOT_SPAN]
    begin, end = times.pop(ROOT_SPAN)
    assert all(begin <= start <= done <= end + 1 for start, done in times.values())
    assert [start for start, _ in times.values()] == sorted(start for start, _ in times.values())
    assert times["ice"][1] == pytest.approx(times["dtls"][0], abs=1)
    assert times["first-frame.decode"][1] == pytest.approx(end, abs=0.01)
    assert spans.traceparent == "", "what comes later is no part of it"


async def test_who_waits_to_be_let_in_waits_on(scene: Scene) -> None:
    room = scene.room = Room(messages.Waiting("viewer", "play"))
    room.state = ClientState.KNOCKING
    scene.begin(patience_s=0.2)
    assert await scene.heard(1) == ["The room is asked to let you in."]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(scene.run), 0.5)
    assert scene.viewing.state is ViewingState.KNOCKING
    assert scene.viewing.trouble == "somebody of the room must let you in"
    room.state = ClientState.JOINED
    room.come(WELCOME)
    assert await scene.heard(1) == ["You are let in, as a viewer."]
    with pytest.raises(NoPicture):
        await asyncio.wait_for(scene.run, 10)


async def test_what_becomes_of_a_control_is_told(scene: Scene) -> None:
    room = scene.begin(asks=("pad:1",))
    await scene.heard(1)

    def controls(reason: str, holder: str | None, *queue: str, words: str = "") -> None:
        state = messages.ControlState("pad:1", holder, queue=list(queue))
        room.come(messages.Controls([state], reason, words))  # type: ignore[arg-type]

    controls("requested", None, "viewer")
    controls("denied", None, words="not today")
    controls("granted", "viewer")
    controls("taken", None)
    assert await scene.heard(4) == [
        "You wait for pad:1, as number 1.",
        "You wait for pad:1 no longer (denied): not today.",
        "You have pad:1 now.",
        "You do not have pad:1 any more: the host has taken it back.",
    ]


async def test_a_control_that_cannot_be_had_is_told(scene: Scene) -> None:
    scene.room.refuses = RequestRefused("conflict", "there is no pad:8 in this room")
    scene.begin(asks=("pad:8",))
    assert (await scene.heard(2))[1] == "pad:8 cannot be had: there is no pad:8 in this room"


async def test_a_bad_offer_is_waited_out(scene: Scene) -> None:
    room = scene.begin()
    room.come(messages.Offer("host", "v=0\r\n"))
    await scene.offer()
    await scene.picture()


@pytest.mark.parametrize(
    ("come", "reason"),
    [
        ([], "the host makes no offer"),
        ([messages.PeerLeft("host", "host", "lost")], "there is no host in this room"),
        ([messages.Refused("host", "All seats are taken.")], "All seats are taken."),
        ([messages.Offer("host", "v=0\r\n")], "the host's offer cannot be used: the offer has no"),
    ],
)
async def test_waiting_ends_and_says_why(
    scene: Scene, come: list[messages.ServerMessage], reason: str
) -> None:
    room = scene.begin(patience_s=0.5)
    for message in come:
        room.come(message)
    with pytest.raises(NoPicture, match=reason) as caught:
        await asyncio.wait_for(scene.run, 10)
    assert (caught.value.state, caught.value.seen) == (ViewingState.WAITING, False)


async def test_a_server_out_of_reach_ends_it(scene: Scene) -> None:
    room = scene.begin(patience_s=0.5)
    room.state, room.trouble = ClientState.WAITING, "cannot reach it"
    with pytest.raises(NoPicture, match="cannot reach it") as caught:
        await asyncio.wait_for(scene.run, 10)
    assert caught.value.state is ViewingState.JOINING


async def test_a_stream_that_stops_is_noticed(scene: Scene) -> None:
    scene.begin(patience_s=1.0)
    await scene.offer()
    await scene.picture()
    scene.stream.close()
    with pytest.raises(NoPicture, match="the host sends no picture") as caught:
        await asyncio.wait_for(scene.run, 20)
    assert caught.value.seen


async def test_what_the_room_refuses_comes_out(scene: Scene) -> None:
    scene.begin().come(PermissionError("no"))
    with pytest.raises(PermissionError):
        await asyncio.wait_for(scene.run, 10)
    scene.run = asyncio.create_task(asyncio.sleep(0))
