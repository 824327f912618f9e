"""The web viewer in a real browser: every state that a person can meet, and the way between them.

The server is the real one. The host is plain aiortc (see :mod:`.aiortc_host`), so that the page is
tested against a peer that is not ours. What the real server cannot be brought to say, a scripted
one says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar, get_args

import pytest
import pytest_asyncio
import websockets.http11
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.typing import Subprotocol

from signalling.dev import DevIssuer
from signalling.http11 import Request
from signalling.messages import (
    CLOSE_CODES,
    SUBPROTOCOL,
    Error,
    ErrorCode,
    Hello,
    Message,
    Offer,
    PeerJoined,
    PeerLeft,
    Refused,
    Role,
    Welcome,
    decode_client,
    decode_server,
    encode,
)
from signalling.server import SignallingServer
from signalling.settings import WEB_ROOT, SignallingSettings
from signalling.static import StaticFiles

from .aiortc_host import STATS, AiortcHost, aiortc_host
from .chromium import Chromium, Page

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ROOM = "arcade"
LONG = 20.0

PLAYING = "playcast.state === 'playing' && video.videoWidth > 0"

COUNT_CONNECTIONS = """
window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) { super(...args); connections.push(this); }
};
"""

HURRY = """
{
  const real = window.setTimeout;
  window.setTimeout = (f, ms, ...args) => real(f, ms >= 2000 ? ms / 20 : ms, ...args);
}
"""
"""Makes the page's long patience short: what it does after 20 s it does after 1 s."""

BLOCK_AUTOPLAY = """
{
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    return navigator.userActivation.hasBeenActive
      ? play.call(this)
      : Promise.reject(new DOMException("play() needs a gesture", "NotAllowedError"));
  };
  new MutationObserver(() => document.querySelector("video")?.removeAttribute("autoplay"))
    .observe(document, { childList: true, subtree: true });
}
"""


class Stage:
    """A signalling server, a browser, and the tokens for both sides of a room."""

    def __init__(self, issuer: DevIssuer, server: SignallingServer, browser: Chromium) -> None:
        self.issuer = issuer
        self.server = server
        self.browser = browser
        self.pages: list[Page] = []

    def token(self, role: Role = "viewer", room: str = ROOM, lifetime_s: float = 600.0) -> str:
        return self.issuer.mint("someone", room, role, lifetime_s)

    def link(self, token: str | None = None) -> str:
        return f"{self.server.url}#room={ROOM}&token={token or self.token()}"

    async def open(self, url: str | None = None, *init: str) -> Page:
        page = await self.browser.open(url or self.link(), init=init)
        self.pages.append(page)
        return page

    def host(self, **options: Any) -> contextlib.AbstractAsyncContextManager[AiortcHost]:
        return aiortc_host(self.server.websocket_url, ROOM, self.token("host"), **options)

    @contextlib.asynccontextmanager
    async def silent_host(self) -> AsyncIterator[ClientConnection]:
        """A host that is in the room and does nothing by itself."""
        protocols = [Subprotocol(SUBPROTOCOL)]
        async with connect(self.server.websocket_url, subprotocols=protocols) as socket:
            await socket.send(encode(Hello(token=self.token("host"), room=ROOM, role="host")))
            assert isinstance(decode_server(await socket.recv()), Welcome)
            yield socket


@pytest.fixture(scope="module")
def issuer() -> DevIssuer:
    return DevIssuer.generate()


def server_for(issuer: DevIssuer, port: int = 0) -> SignallingServer:
    return SignallingServer(SignallingSettings(verifier=issuer.verifier(), port=port))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def stage(issuer: DevIssuer, browser: Chromium) -> AsyncIterator[Stage]:
    async with server_for(issuer) as server:
        stage = Stage(issuer, server, browser)
        yield stage
        for page in stage.pages:
            await page.close()
            assert page.exceptions == []
            assert not [line for line in page.console if "Content Security Policy" in line]


async def state(page: Page, name: str, timeout: float = LONG) -> None:
    """Wait until the page is in state ``name``, and check that its words are on the screen."""
    await page.wait_for(f"playcast.state === {json.dumps(name)}", timeout)
    title, shown, spoken = await page.evaluate(
        "(async () => [(await import('/states.js')).STATES[playcast.state].title,"
        " document.getElementById('title').innerText,"
        " document.getElementById('status').textContent])()"
    )
    if name != "playing":
        assert shown == title
    assert spoken.startswith(title)


async def frames_go_on(page: Page, count: int = 10) -> None:
    """Wait until ``count`` more frames have been decoded."""
    decoded = "(video.getVideoPlaybackQuality().totalVideoFrames)"
    before = await page.evaluate(decoded)
    await page.wait_for(f"{decoded} >= {before + count} || {decoded} < {before}", LONG)


# Playing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_waits_for_the_host_and_plays_when_it_comes(stage: Stage, codec: str) -> None:
    page = await stage.open(None, COUNT_CONNECTIONS)
    await state(page, "waiting")
    async with stage.host(codec=codec) as host:
        await state(page, "playing")
        await frames_go_on(page)
        stats = await page.wait_for("playcast.stats?.fps > 5 && playcast.stats", LONG)
        shown = await page.wait_for("playcast.host", LONG)
        answer = next(iter(host.answers.values()))
        [target] = await page.evaluate(
            "connections[0].getReceivers().filter(r => r.track.kind === 'video')"
            ".map(r => r.jitterBufferTarget)"
        )
    assert (stats["width"], stats["height"], stats["codec"]) == (640, 360, codec)
    assert stats["framesDecoded"] > 0
    assert stats["bitrateBps"] > 0
    assert stats["lost"] == 0
    assert stats["rttMs"] is not None
    assert stats["jitterBufferMs"] is not None
    assert stats["decodeMs"] > 0
    assert stats["protocol"] == "udp"
    assert stats["relayed"] is False
    assert shown["stages"]["encode"] == {"p50": 3.1, "p99": 5.2}
    assert shown["bitrateBps"] == STATS["bitrate_bps"]
    assert "a=recvonly" in answer
    assert target == 0


async def test_plays_when_the_host_was_there_first(stage: Stage) -> None:
    async with stage.host():
        page = await stage.open()
        await state(page, "playing")
        assert await page.evaluate("video.muted && video.playsInline && !video.controls")
        assert await page.evaluate("document.title") == f"{ROOM} · Playcast"


async def test_token_leaves_the_address_and_a_reload_plays_on(stage: Stage) -> None:
    async with stage.host():
        page = await stage.open()
        await state(page, "playing")
        assert await page.evaluate("location.href") == stage.server.url
        await page.reload()
        await state(page, "playing")


async def test_closing_the_page_says_goodbye(stage: Stage) -> None:
    async with stage.silent_host() as host:
        page = await stage.open()
        async with asyncio.timeout(LONG):
            await told(host, PeerJoined)
            await page.close()
            left = await told(host, PeerLeft)
        assert left.reason == "bye"


async def test_autoplay_blocked_asks_for_a_tap(stage: Stage) -> None:
    page = await stage.open(None, BLOCK_AUTOPLAY)
    async with stage.host():
        await state(page, "tap-to-play")
        await page.click("#action")
        await state(page, "playing")
        await frames_go_on(page)


# Sessions come, change and go ---------------------------------------------------------------------


async def test_renegotiation_keeps_the_connection(stage: Stage) -> None:
    page = await stage.open(None, COUNT_CONNECTIONS)
    async with stage.host() as host:
        await state(page, "playing")
        [viewer] = host.peers
        await host.reoffer(viewer)
        async with asyncio.timeout(LONG):
            await host.answered.wait()
        await frames_go_on(page)
        assert await page.evaluate("connections.length") == 1


async def test_an_offer_of_another_transport_replaces_the_connection(stage: Stage) -> None:
    page = await stage.open(None, COUNT_CONNECTIONS)
    async with stage.host() as host:
        await state(page, "playing")
        [viewer] = host.peers
        await host.invite_again(viewer)
        await page.wait_for("connections.length === 2", LONG)
        await page.wait_for("connections[0].connectionState === 'closed'", LONG)
        await page.wait_for("connections[1].connectionState === 'connected'", LONG)
        await frames_go_on(page)
        assert await page.evaluate("playcast.state") == "playing"


async def test_a_dead_path_is_joined_again(stage: Stage) -> None:
    page = await stage.open(None, COUNT_CONNECTIONS, HURRY)
    async with stage.host() as host:
        await state(page, "playing")
        await host.hang_up()
        # The last picture stays until the next one.
        await page.wait_for("playcast.state === 'reconnecting' && still.checkVisibility()", LONG)
        colour = "still.getContext('2d').getImageData(320, 180, 1, 1).data"
        assert max((await page.evaluate(f"[...{colour}]"))[:3]) > 60
        await page.wait_for("connections.length === 2", LONG)
        await page.wait_for(PLAYING, LONG)
        await page.wait_for("!still.checkVisibility()", LONG)
        await frames_go_on(page)


async def test_server_restart_does_not_stop_the_picture(stage: Stage) -> None:
    page = await stage.open(None, COUNT_CONNECTIONS)
    async with stage.host() as host:
        await state(page, "playing")
        port = stage.server.port
        host.keep_peers = True
        await stage.server.close()
        await page.wait_for("document.getElementById('toast').checkVisibility()", LONG)
        toast = await page.evaluate("document.getElementById('toast').textContent")
        assert "The picture goes on" in toast
        await frames_go_on(page)
        assert await page.evaluate("playcast.state") == "playing"
        async with server_for(stage.issuer, port), stage.host():
            await page.wait_for("connections.length === 2", LONG)
            await page.wait_for("connections[1].connectionState === 'connected'", LONG)
            await page.wait_for("!document.getElementById('toast').checkVisibility()", LONG)
            await frames_go_on(page)
            assert await page.evaluate("playcast.state") == "playing"


async def test_server_shutdown_is_told_and_waited_for(stage: Stage) -> None:
    page = await stage.open()
    await state(page, "waiting")
    port = stage.server.port
    await stage.server.close()
    await page.wait_for("['shutting-down', 'reconnecting'].includes(playcast.state)", LONG)
    await page.wait_for("/Trying again in \\d+ s…/.test(count.textContent)", LONG)
    async with server_for(stage.issuer, port):
        await state(page, "waiting")


async def test_host_says_goodbye_and_comes_back(stage: Stage) -> None:
    page = await stage.open()
    async with stage.host() as host:
        await state(page, "playing")
        await host.bye()
        await state(page, "host-left")
    async with stage.host():
        await state(page, "playing")


async def test_host_that_only_loses_the_server_plays_on(stage: Stage) -> None:
    page = await stage.open()
    async with stage.host() as host:
        await state(page, "playing")
        host.keep_peers = True
        host.drop_signalling()
        await page.wait_for("document.getElementById('toast').checkVisibility()", LONG)
        await frames_go_on(page)
        assert await page.evaluate("playcast.state") == "playing"
        await host.hang_up()
        await state(page, "host-lost", timeout=5)  # ICE alone needs some 14 s to notice
    async with stage.host():
        await state(page, "playing")


# What goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("", "neither a room nor a token"),
        ("#token=a.b.c", "room is missing"),
        ("#room=arcade", "token is missing"),
        ("#room=arcade&token=abc", "cut short or mangled"),
        ("#room=arcade&token=a.b.%20c", "cut short or mangled"),
        ("#room=ar%2Fcade&token=a.b.c", "may only have letters"),
        (f"#room={'x' * 65}&token=a.b.c", "may only have letters"),
        (f"#room=arcade&token=a.b.{'c' * 8192}", "cut short or mangled"),
        ("#%%%&room=%ff", "may only have letters"),
    ],
)
async def test_malformed_link(stage: Stage, fragment: str, words: str) -> None:
    page = await stage.open(stage.server.url + fragment)
    await state(page, "bad-link")
    assert words in await page.evaluate("detail.innerText")


async def test_a_new_link_in_the_same_tab_is_taken(stage: Stage) -> None:
    page = await stage.open(stage.server.url + "#room=arcade")
    await state(page, "bad-link")
    await page.goto(stage.link())
    await state(page, "waiting")


async def test_tokens_that_the_server_refuses(stage: Stage) -> None:
    strange = DevIssuer.generate().mint("someone", ROOM, "viewer")
    cases = {
        "bad-token": strange,
        "token-expired": stage.token(lifetime_s=-60),
        "forbidden": stage.token(room="elsewhere"),
    }
    for name, token in cases.items():
        page = await stage.open(stage.link(token))
        await state(page, name)
        assert await page.evaluate("document.querySelectorAll('#check-list li').length") >= 2
        assert "The server says: " in await page.evaluate("detail.innerText")
        assert await page.evaluate("count.textContent") == ""  # trying again would not help


async def test_a_hosts_token_cannot_watch(stage: Stage) -> None:
    page = await stage.open(stage.link(stage.token("host")))
    await state(page, "forbidden")


async def test_browser_without_webrtc(stage: Stage) -> None:
    page = await stage.open(None, "delete window.RTCPeerConnection")
    await state(page, "unsupported")


async def test_webrtc_that_is_blocked(stage: Stage) -> None:
    block = "window.RTCPeerConnection = class { constructor() { throw new Error('by policy'); } }"
    page = await stage.open(None, block)
    async with stage.host():
        await state(page, "unsupported")
        assert "by policy" in await page.evaluate("detail.innerText")


async def test_browser_without_the_codecs(stage: Stage) -> None:
    page = await stage.open(
        None, "RTCRtpReceiver.getCapabilities = () => ({ codecs: [{ mimeType: 'video/AV1' }] })"
    )
    await state(page, "no-codec")


async def test_offer_without_a_codec_in_common(stage: Stage) -> None:
    page = await stage.open()
    async with stage.host(rewrite=lambda sdp: sdp.replace(" H264/", " H999/")):
        await state(page, "no-codec")


_Message_T = TypeVar("_Message_T", bound=Message)


async def told(host: ClientConnection, kind: type[_Message_T]) -> _Message_T:
    """The next message of a kind that a silent host is told."""
    async with asyncio.timeout(LONG):
        while True:
            message = decode_server(await host.recv())
            if isinstance(message, kind):
                return message


async def viewer_of(host: ClientConnection) -> str:
    """The id of the viewer that a silent host is told of first."""
    return (await told(host, PeerJoined)).peer


async def test_offer_that_makes_no_sense(stage: Stage) -> None:
    async with stage.silent_host() as host:
        page = await stage.open()
        await host.send(encode(Offer(await viewer_of(host), "v=0\r\nwhatever\r\n")))
        await state(page, "bad-offer")


async def test_host_that_makes_no_offer(stage: Stage) -> None:
    async with stage.silent_host() as host:
        page = await stage.open(None, HURRY)
        await viewer_of(host)
        await state(page, "host-silent")


async def test_a_host_without_a_place_says_so_and_may_offer_later(stage: Stage) -> None:
    async with stage.silent_host() as host:
        page = await stage.open()
        viewer = await viewer_of(host)
        await host.send(encode(Refused(viewer, "Two are enough. <b>Sorry</b>.")))
        await state(page, "full")
        detail = await page.evaluate("document.getElementById('detail').textContent")
        assert detail == "The host says: Two are enough. <b>Sorry</b>."
        await host.send(encode(Offer(viewer, "v=0")))
        await state(page, "bad-offer")


async def test_no_path_to_the_host(stage: Stage) -> None:
    """The host offers and accepts, at an address where nobody is."""
    page = await stage.open(None, COUNT_CONNECTIONS, HURRY)
    async with stage.host(rewrite=without_candidates, deaf=True):
        await state(page, "ice-failed")
        checks = await page.evaluate("document.getElementById('check-list').innerText")
        assert "UDP port" in checks
        assert "firewall" in checks
        assert "TURN" in checks
        # It is tried again, without being asked.
        await page.wait_for("connections.length >= 2", LONG)


def without_candidates(sdp: str) -> str:
    return "".join(line for line in sdp.splitlines(True) if "candidate" not in line)


async def test_trickled_candidates_in_any_spelling(stage: Stage) -> None:
    """RFC 8838: candidates after the offer, a broken one among them, and the end of them."""

    def candidates(sdp: str) -> list[str]:
        found = re.findall(r"^a=(candidate:(.*?))\r$", sdp, re.MULTILINE)
        return ["candidate:nonsense", *(value for pair in found for value in pair), ""]

    async with stage.host(rewrite=without_candidates) as host:
        host.trickle = candidates
        page = await stage.open()
        await state(page, "playing")
        # The browser says them with their "candidate:", and their end once.
        said = [value for value in host.heard if value]
        assert all(value.startswith("candidate:") for value in said)
        assert host.heard.count("") <= 1


async def test_path_without_a_picture(stage: Stage) -> None:
    page = await stage.open(None, HURRY)
    async with stage.host(draw=None):
        await state(page, "no-picture")


SCRIPTED: dict[ErrorCode, str] = {
    "not-admitted": "not-admitted",
    "kicked": "kicked",
    "banned": "banned",
    "replaced": "replaced",
    "room-full": "room-full",
    "room-locked": "room-locked",
    "rate-limited": "rate-limited",
    "too-slow": "too-slow",
    "conflict": "room-taken",
    "bad-message": "server-error",
    "too-large": "server-error",
    "room-taken": "room-taken",
    "version": "version",
    "internal": "server-error",
    "shutting-down": "shutting-down",
}


RETRIED = {
    "internal",
    "shutting-down",
    "room-full",
    "room-locked",
    "rate-limited",
    "too-slow",
}


@contextlib.asynccontextmanager
async def scripted(*frames: str, close: int | None, refuse: bool = False) -> AsyncIterator[str]:
    """A server that answers every hello with ``frames`` and then closes. Gives its URL."""
    files = StaticFiles(WEB_ROOT)

    def page(request: websockets.http11.Request) -> websockets.http11.Response:
        asked = Request("GET", request.path, request.headers["Host"], (), False)
        answer = files.respond(asked)
        fields = [*answer.fields, ("Content-Type", answer.content_type), ("Connection", "close")]
        headers = Headers([*fields, ("Content-Length", str(len(answer.body)))])
        return websockets.http11.Response(answer.status, "", headers, answer.body)

    async def handle(socket: ServerConnection) -> None:
        assert isinstance(decode_client(await socket.recv()), Hello)
        for frame in frames:
            await socket.send(frame)
        if close is not None:
            await socket.close(close)
        await socket.wait_closed()

    server = await serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        process_request=lambda socket, request: (
            page(request) if refuse or request.path != "/ws" else None
        ),
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/#room={ROOM}&token=a.b.c"


async def test_every_error_of_the_protocol_has_words(stage: Stage) -> None:
    for code, name in SCRIPTED.items():
        retry = code in RETRIED
        error = encode(Error(code, f"it is {code}", retry=retry))
        async with scripted(error, close=CLOSE_CODES[code]) as url:
            page = await stage.open(url)
            await state(page, name)
            assert f"it is {code}" in await page.evaluate("detail.innerText")
            if retry:
                await page.wait_for("count.textContent !== ''")
            else:
                assert await page.evaluate("count.textContent") == ""
            await page.close()
    page = await stage.open()
    for code in get_args(ErrorCode):
        known = await page.evaluate(
            f"Promise.all([import('/states.js'), import('/signal.js')])"
            f".then(([m]) => m.stateOfCode({json.dumps(code)}))"
        )
        assert known == SCRIPTED.get(code, known)
        if code not in ("internal", "bad-message", "too-large"):
            assert known != "server-error"


async def test_close_code_alone_tells_the_reason(stage: Stage) -> None:
    async with scripted(close=CLOSE_CODES["forbidden"]) as url:
        await state(await stage.open(url), "forbidden")


async def test_an_error_that_ends_nothing_is_not_the_reason_of_a_later_loss(stage: Stage) -> None:
    error = encode(Error("forbidden", "a viewer may not do that"))
    async with scripted(encode(Welcome("me", ROOM, "viewer", False)), error, close=1001) as url:
        page = await stage.open(url)
        await state(page, "reconnecting")
        assert await page.evaluate("count.textContent")


async def test_server_that_refuses_websockets_is_called_unreachable(stage: Stage) -> None:
    async with scripted(close=None, refuse=True) as url:
        page = await stage.open(url, HURRY)
        await state(page, "unreachable")
        await page.wait_for("/Trying again in \\d+ s…/.test(count.textContent)")


# Hostile input ------------------------------------------------------------------------------------


async def test_frames_that_are_no_messages_are_ignored(stage: Stage) -> None:
    welcome = encode(Welcome("me", ROOM, "viewer", False))
    hostile = [
        "nonsense",
        "[]",
        "null",
        '{"type": 5}',
        '{"type": "unheard-of"}',
        '{"type": "peer-left"}',
        '{"type": "candidate", "peer": "nobody"}',
        '{"type": "ping"}',
        '{"type": "done"}',
        '{"type": "error", "id": 5}',
        '{"type": "controls"}',
        '{"type": "controls", "controls": [null, 5, {}, {"control": 5, "queue": "me"}]}',
        '{"type": "settings"}',
        '{"type": "settings", "settings": {"pads": 1e9, "chat": "no", "policy": []}}',
        '{"type": "peer-joined"}',
        '{"type": "peer-joined", "peer": [], "role": {}, "name": {}}',
        '{"type": "bans", "bans": [null, {"subject": 5, "until": "x"}]}',
        '{"type": "chat-message"}',
        '{"type": "chat-message", "text": {}, "name": [], "at": "now", "seq": "1"}',
        '{"type": "invited"}',
        '{"type": "permissions"}',
        '{"type": "welcome", "peer": "me", "members": [null], "controls": {}, "settings": null}',
    ]
    async with scripted(welcome, *hostile, close=None) as url:
        page = await stage.open(url)
        await state(page, "waiting")
        await page.wait_for("true")
        assert await page.evaluate("playcast.state") == "waiting"


async def test_hostile_statistics_harm_nothing(stage: Stage) -> None:
    page = await stage.open()
    async with stage.host() as host:
        await state(page, "playing")
        await page.press("s")
        await page.wait_for("playcast.host?.fps === 60", LONG)
        for text in ("", "{", "[]", "null", "7", '"x"', "[" * 9000, "x" * 20_000):
            await host.say(text)
        odd = {
            "fps": "<img src=x onerror=alert(1)>",
            "bitrate_bps": -1,
            "viewers": None,
            "encoder": "<b>x264</b>",
            "stages": {"capture": 5, "convert": None, "encode": {"p50_ms": 2, "p99_ms": "NaN"}},
            "drops": [],
            "unheard_of": {"deep": [1]},
        }
        await host.say(json.dumps(odd))
        await page.wait_for("playcast.host?.encoder === '<b>x264</b>'", LONG)
        shown = await page.evaluate("playcast.host")
        assert shown["stages"] == {"encode": {"p50": 2, "p99": None}}
        assert shown["fps"] is None
        assert shown["bitrateBps"] is None
        await page.wait_for("overlay.innerText.includes('<b>x264</b>')", LONG)
        assert await page.evaluate("overlay.querySelector('img, b b')") is None
        await frames_go_on(page)


# The page as a thing to use -----------------------------------------------------------------------


async def test_overlay_shows_both_sides(stage: Stage) -> None:
    page = await stage.open()
    async with stage.host():
        await state(page, "playing")
        assert not await page.evaluate("overlay.checkVisibility()")
        await page.press("s")
        await page.wait_for("overlay.checkVisibility()")
        await page.wait_for("overlay.querySelectorAll('.legend li').length === 7", LONG)
        text = await page.evaluate("overlay.innerText")
        for words in ("640 × 360 · H264", "x264 · 60 fps", "Encode", "3.1", "5.2", "NACK"):
            assert words in text
        label = await page.evaluate("document.querySelector('.bar').ariaLabel")
        assert label.startswith("About ")
        assert "encode 3.1 ms" in label
        await page.click("#stats-button")
        await page.wait_for("!overlay.checkVisibility()")


async def test_keys_and_controls(stage: Stage) -> None:
    page = await stage.open()
    await page.resize(1280, 720)
    async with stage.host():
        await state(page, "playing")
        await page.press("?")
        await page.wait_for("help.open")
        await page.press("Escape")
        await page.wait_for("!help.open")
        await page.press("f")
        await page.wait_for("document.fullscreenElement === stage")
        await page.press("f")
        await page.wait_for("document.fullscreenElement === null")
        await page.click("#video", count=2)
        await page.wait_for("document.fullscreenElement === stage")
        await page.evaluate("document.exitFullscreen()")
        hidden = "getComputedStyle(controls).opacity === '0'"
        await page.evaluate("document.activeElement.blur()")
        await page.wait_for(hidden, LONG)
        await page.click("#video")
        await page.wait_for("getComputedStyle(controls).opacity === '1'")


async def test_window_playcast_cannot_be_changed(stage: Stage) -> None:
    page = await stage.open()
    await state(page, "waiting")
    await page.evaluate("{ playcast.state = 'x'; window.playcast = null; delete window.playcast }")
    assert await page.evaluate("playcast.state") == "waiting"


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844), (320, 568), (844, 390)])
async def test_every_state_fits_the_screen(stage: Stage, width: int, height: int) -> None:
    page = await stage.open()
    await state(page, "waiting")
    await page.resize(width, height, mobile=width < 1000)
    misfits = await page.evaluate(
        """(async () => {
          const { Screen } = await import("/screen.js");
          const { STATES } = await import("/states.js");
          const screen = new Screen(document, () => {});
          const misfits = [];
          for (const [name, { tone, action }] of Object.entries(STATES)) {
            if (tone === "live") continue;
            screen.show(name, { room: "x".repeat(64), detail: "d".repeat(300) });
            const wide = document.querySelector(".page").scrollWidth > innerWidth;
            const title = document.getElementById("title").getBoundingClientRect();
            const button = document.getElementById("action");
            button.scrollIntoView();
            const { bottom } = button.getBoundingClientRect();
            if (wide || title.height < 20 || (action && bottom > innerHeight)) misfits.push(name);
          }
          return misfits;
        })()"""
    )
    assert misfits == []


async def test_reduced_motion_is_respected(stage: Stage) -> None:
    page = await stage.open()
    await state(page, "waiting")
    assert await page.evaluate("document.getAnimations().length") > 0
    await page.reduce_motion()
    await page.wait_for("document.getAnimations().length === 0")


async def test_backoff_grows_is_capped_and_jitters(stage: Stage) -> None:
    page = await stage.open()
    waits = await page.evaluate(
        """import("/backoff.js").then(({ Backoff }) => [0, 0.999999].map((x) => {
          const backoff = new Backoff({ firstMs: 500, maxMs: 15000, random: () => x });
          const waits = [...Array(8)].map(() => backoff.next());
          backoff.reset();
          return [...waits, backoff.next()];
        }))"""
    )
    steps = [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000, 500]
    assert waits == [[step / 2 for step in steps], steps]
