"""The room in real pages: who plays, who is let in, who is put out, what is said.

Server and host are the real ones, and so are the browser's connections to both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from signalling.messages import Configure
from signalling.tracing import ROOT_SPAN, NoTracer

from .chromium import Chromium
from .room_scene import COUNT_CONNECTIONS, LONG, ROOM, Guest, RoomScene

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

PLAYER_BUTTON = "#play-button"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as browser:
        yield browser


OVERHEAR = """
window.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => {
      const { type, room, peer, secret, seq = 0 } = JSON.parse(data);
      if (type === "welcome") window.overheard = { room, peer, secret, seq, keptAt: Date.now() };
      else overheard.seq = Math.max(overheard.seq, seq);
    });
  }
};
"""
"""Takes the session's secret out of the welcome, as the page itself keeps it for a reload."""


async def allowed(scene: RoomScene, guest: Guest, capability: Any, wanted: bool = True) -> None:
    """Wait until the host, who injects the input, allows it, or does not any more."""
    peer = await guest.peer()
    async with asyncio.timeout(LONG):
        while scene.host.allows(peer, capability) is not wanted:
            await guest.page.evaluate("new Promise(requestAnimationFrame)")


# Who plays ----------------------------------------------------------------------------------------


async def test_ask_grant_give_and_take_back(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        ann = await scene.visit("ann", "player")
        ben = await scene.visit("ben", "player")
        mo = await scene.visit("mo", "moderator")
        await ann.reads(PLAYER_BUTTON, "Ask for a controller")
        await ann.page.press("p")
        await ann.press("Ask: pad 1")
        await ann.reads(PLAYER_BUTTON, "Asked · Pad 1")
        await ann.reads("#play-rows", "You have asked")

        await mo.see("document.getElementById('people-badge').innerText === '1'")
        await mo.page.press("m")
        await mo.press("Give Ann pad 1")
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        await ann.reads("#notice", "Pad 1 is yours.")
        await ann.hears("Pad 1 is yours.")
        await ben.hears("Ann has pad 1.")
        await allowed(scene, ann, "pad:1")
        assert not scene.host.allows(await ben.peer(), "pad:1")

        await ann.choose("Give pad 1 to", await ben.peer())
        await ann.press("Give")
        await ben.reads(PLAYER_BUTTON, "You play · Pad 1")
        await ann.reads("#notice", "Pad 1 is Ben’s now.")
        await ann.reads("#play-rows", "Ben")
        await allowed(scene, ben, "pad:1")
        assert not scene.host.allows(await ann.peer(), "pad:1")

        await mo.page.press("p")
        await mo.press("Take back")
        await ben.reads("#notice", "Pad 1 was taken back.")
        await ben.reads(PLAYER_BUTTON, "Ask for a controller")
        await allowed(scene, ben, "pad:1", False)


async def test_turns_end_and_go_to_the_next(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(control_policy="turns", turn_s=2.0, pads=1)) as scene:
        ann = await scene.visit("ann", "player")
        ben = await scene.visit("ben", "player")
        await ann.page.press("p")
        await ann.press("Ask: pad 1")
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        await allowed(scene, ann, "pad:1")
        await ben.page.press("p")
        await ben.reads("#play-rows", "Ann")
        await ben.press("Ask: pad 1")
        # Somebody waits: the turn has an end now, and it is counted down.
        await ann.see("/0:0\\d/.test(document.getElementById('play-words').innerText)")
        await ben.reads(PLAYER_BUTTON, "You play · Pad 1")
        await ann.reads("#notice", "Your turn is over: pad 1 goes on to the next.")
        await allowed(scene, ben, "pad:1")
        assert not scene.host.allows(await ann.peer(), "pad:1")
        await ben.press("Let go: pad 1")
        await ben.reads(PLAYER_BUTTON, "Ask for a controller")
        await allowed(scene, ben, "pad:1", False)


async def test_keyboard_and_mouse_are_one_thing(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(control_policy="free")) as scene:
        ann = await scene.visit("ann", "player")
        await ann.page.press("p")
        await ann.press("Ask: the keyboard and the mouse")
        await ann.reads(PLAYER_BUTTON, "You play · Keyboard and mouse")
        await allowed(scene, ann, "keyboard")
        await allowed(scene, ann, "mouse")


async def test_a_refusal_is_told_in_the_rooms_own_words(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(control_policy="free")) as scene:
        eve = await scene.visit("eve", "viewer")
        await eve.page.press("p")
        await eve.press("Ask: pad 1")
        await eve.reads("#notice.bad", "Controls go to players here")
        await eve.hears("Controls go to players here")
        assert not scene.host.allows(await eve.peer(), "pad:1")


# Who is here --------------------------------------------------------------------------------------


async def test_knocking_being_let_in_and_being_refused(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(policy="approval")) as scene:
        mo = await scene.visit("mo", "moderator")
        ann = await scene.knock("ann")
        await ann.state("approval")
        await mo.see("document.getElementById('people-badge').innerText === '1'")
        await mo.hears("Ann waits to be let in.")
        await mo.page.press("m")
        await mo.press("Admit Ann")
        await ann.state("playing")
        ben = await scene.knock("ben")
        await ben.state("approval")
        await mo.press("Refuse Ben")
        await ben.state("not-admitted")
        assert await ben.page.evaluate("count.textContent") == ""
        assert not await ben.page.evaluate("document.getElementById('panel').checkVisibility()")


async def test_put_out_and_come_again_banned_and_let_back_in(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        mo = await scene.visit("mo", "admin")
        eve = await scene.visit("eve")
        await mo.page.press("m")
        await mo.press("Eve")
        await mo.press("Put out")
        await eve.state("kicked")
        await mo.hears("Eve was put out.")
        await eve.press("Come in again")
        await eve.state("playing")

        await mo.press("Eve")
        await mo.press("Ban…")
        await mo.choose("For how long they are kept out", "86400")
        await mo.press("Ban Eve")
        await eve.state("banned")
        await mo.reads("#people-body", "another 1 day")
        await eve.press("Try again")
        await eve.state("banned")
        await mo.press("Let Eve back in")
        await mo.see("!document.querySelector('#people-body').innerText.includes('Kept out')")
        await eve.press("Try again")
        await eve.state("playing")


async def test_roles_change_live(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        mo = await scene.visit("mo", "admin")
        eve = await scene.visit("eve")
        assert not await eve.page.evaluate(
            "document.getElementById('people-button').checkVisibility()"
        )
        await mo.page.press("m")
        await mo.press("Eve")
        await mo.choose("Role", "moderator")
        await mo.press("Change")
        await eve.reads("#notice", "You are a moderator now.")
        await eve.see("document.getElementById('people-button').checkVisibility()")
        # A role is no other session: the picture goes on.
        assert await eve.page.evaluate("playcast.state") == "playing"


async def test_an_invitation_opens_the_room(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(policy="invite")) as scene:
        mo = await scene.visit("mo", "moderator")
        await mo.page.press("m")
        await mo.press("Invite someone")
        await mo.choose("What they come for", "player")
        await mo.press("Make a link")
        link = await mo.see("document.querySelector('.made input').value")
        assert f"#room={ROOM}&token=invite." in link
        ann = await scene.open(link)
        await ann.state("playing")
        assert await ann.page.evaluate("playcast.room.role") == "player"
        assert "invite." not in await ann.page.evaluate("location.href")


async def test_the_rooms_settings_and_what_they_bring_about(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        boss = await scene.visit("boss", "admin")
        eve = await scene.visit("eve")
        await boss.page.press("m")
        await boss.press("The room")

        async def turn(label: str, value: str) -> None:
            await boss.page.evaluate(
                f"(() => {{ const field = [...document.querySelectorAll('.settings label')]"
                f".find(l => l.innerText.startsWith({json.dumps(label)})).querySelector('input');"
                f"field[field.type === 'checkbox' ? 'checked' : 'value'] = {value};"
                f"field.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
            )
            await boss.press("Save")
            await boss.press_is_gone("Save")

        await turn("Game pads", "'2'")
        await eve.page.press("p")
        await eve.see("document.querySelectorAll('#play-rows > li').length === 3")
        await turn("The chat is open", "false")
        await eve.page.press("c")
        await eve.see("document.getElementById('chat-text').disabled")
        await turn("Places for viewers", "'1'")
        late = await scene.knock("late")
        await late.state("room-full")
        await late.see("/Trying again in \\d+ s…/.test(count.textContent)")
        await turn("Places for viewers", "'0'")
        await turn("Locked", "true")
        await late.page.click("#action")
        await late.state("room-locked")
        await turn("Locked", "false")
        await late.state("playing")


async def test_another_name_is_known_at_once_and_costs_nothing(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(control_policy="free", title="Two pads")) as scene:
        mo = await scene.visit("mo", "moderator")
        ann = await scene.visit("ann", "player", COUNT_CONNECTIONS)
        assert await ann.page.evaluate("document.title") == "Two pads · Playcast"
        await ann.page.press("p")
        await ann.press("Ask: pad 1")
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        peer = await ann.peer()
        await ann.page.press("c")
        await ann.page.evaluate(
            "(n => { n.value = 'Annabel'; n.form.requestSubmit(); })"
            "(document.getElementById('name-text'))"
        )
        await mo.page.press("m")
        await mo.reads("#people-body", "Annabel")
        await mo.see("document.getElementById('people-count').innerText === '2 watching'")
        await ann.see("playcast.room.joined")
        assert await ann.peer() == peer
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        assert await ann.page.evaluate("connections.length") == 1


# What is said -------------------------------------------------------------------------------------


async def test_chat_is_text_and_counts_what_nobody_has_seen(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        ann = await scene.visit("ann", "player")
        eve = await scene.visit("eve")
        await ann.page.press("c")
        await ann.say("<img src=x onerror=alert(1)> & <b>hello</b>")
        await eve.see("document.getElementById('chat-badge').innerText === '1'")
        assert (
            await eve.page.evaluate("document.querySelector('#chat-button .hidden').textContent")
            == "Chat, 1 new"
        )
        await eve.page.press("c")
        await eve.reads("#chat-log", "<img src=x onerror=alert(1)> & <b>hello</b>")
        await eve.reads("#chat-log", "Ann")
        assert (
            await eve.page.evaluate("document.querySelector('#chat-log img, #chat-log .said b')")
            is None
        )
        assert not await eve.page.evaluate(
            "document.getElementById('chat-badge').checkVisibility()"
        )
        # Who comes later is told what was said last.
        late = await scene.visit("late")
        await late.page.press("c")
        await late.reads("#chat-log", "hello")


async def test_who_says_too_much_is_told_to_wait(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        eve = await scene.visit("eve")
        await eve.page.press("c")
        for number in range(13):
            await eve.say(f"line {number}")
        await eve.reads("#chat-trouble", "wait")
        assert await eve.page.evaluate("document.getElementById('chat-text').value") != ""
        # It is no offence that ends the visit, and the button comes back by itself.
        await eve.see("!document.getElementById('chat-send').disabled")
        assert await eve.page.evaluate("playcast.state") == "playing"


# Coming back --------------------------------------------------------------------------------------


async def test_a_lost_socket_costs_neither_the_seat_nor_a_word(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(control_policy="free")) as scene:
        ann = await scene.visit("ann", "player", COUNT_CONNECTIONS)
        mo = await scene.visit("mo", "moderator")
        await ann.page.press("p")
        await ann.press("Ask: pad 1")
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        peer = await ann.peer()
        for guest in (ann, mo):
            await guest.page.press("c")
        await ann.say("before")
        await mo.reads("#chat-log", "before")

        scene.relay.cut()
        await ann.see("document.getElementById('toast').checkVisibility()")
        await ann.say("while it was away")
        await ann.reads("#chat-trouble", "It is sent when the server is back.")
        for guest in (ann, mo):  # a page goes on to play without its server
            assert await guest.page.evaluate("playcast.state") == "playing"
        assert scene.host.allows(peer, "pad:1")
        scene.relay.mend()
        await ann.reads("#chat-log", "while it was away")
        await mo.reads("#chat-log", "while it was away")
        await mo.say("after")
        await ann.reads("#chat-log", "after")

        said = ["before", "while it was away", "after"]
        assert await ann.lines() == said
        assert await mo.lines() == said
        assert await ann.peer() == peer
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        assert scene.host.allows(peer, "pad:1")
        assert await ann.page.evaluate("connections.length") == 1


async def test_a_reload_keeps_the_seat_and_what_it_holds(browser: Chromium) -> None:
    async with RoomScene(browser, Configure(control_policy="free")) as scene:
        ann = await scene.visit("ann", "player")
        mo = await scene.visit("mo", "moderator")
        await ann.page.press("p")
        await ann.press("Ask: pad 1")
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        await ann.page.press("c")
        await ann.say("here")
        await ann.reads("#chat-log", "here")
        peer = await ann.peer()
        await ann.page.reload()
        await ann.state("playing")
        assert await ann.peer() == peer
        await ann.reads(PLAYER_BUTTON, "You play · Pad 1")
        await allowed(scene, ann, "pad:1")
        await ann.page.press("c")
        await ann.reads("#chat-log", "here")
        assert await ann.lines() == ["here"]
        assert not await mo.page.evaluate(
            "document.getElementById('news').textContent.includes('left')"
        )
        # The seat was put away for that one page.
        assert await ann.page.evaluate("sessionStorage.getItem('playcast.seat')") is None


async def test_who_loads_the_page_again_by_its_key_stays(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        eve = await scene.visit("eve")
        peer = await eve.peer()
        await eve.page.command("Input.dispatchKeyEvent", type="rawKeyDown", key="F5", code="F5")
        await eve.page.reload()
        await eve.state("playing")
        assert await eve.peer() == peer


async def test_a_second_page_with_the_same_seat_takes_it_over(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        eve = await scene.visit("eve", "viewer", OVERHEAR)
        peer = await eve.peer()
        seat = await eve.page.evaluate("JSON.stringify(overheard)")
        put = f"sessionStorage['playcast.seat'] = {json.dumps(seat)};"
        other = await scene.open(scene.link(scene.token("eve", "viewer")), put)
        await other.state("playing")
        assert await other.peer() == peer
        await eve.state("replaced")
        assert await eve.page.evaluate("count.textContent") == ""


async def test_a_site_with_sign_in_needs_no_token_in_the_link(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        token = scene.token("ann", "player")
        sign_in = f"window.playcast = {{ freshToken: async () => {json.dumps(token)} }};"
        url = scene.link("").split("#")[0]
        ann = await scene.open(f"{url}#room={ROOM}", sign_in)
        await ann.state("playing")
        assert await ann.page.evaluate("playcast.room.role") == "player"
        signed_out = "window.playcast = { freshToken: async () => null };"
        eve = await scene.open(f"{url}#room={ROOM}", signed_out)
        await eve.state("signed-out")


async def test_a_fresh_token_is_had_before_the_old_one_ends(browser: Chromium) -> None:
    """On the open socket: nothing is lost, and nothing is joined again."""
    async with RoomScene(browser) as scene:
        tokens = [scene.token("ann", "player", 4.0), scene.token("ann", "player")]
        sign_in = f"""
          const tokens = {json.dumps(tokens)};
          const ends = Date.now() + 5000;
          window.playcast = {{ freshToken: async () => tokens.shift() }};
          window.sockets = 0;
          window.WebSocket = class extends WebSocket {{
            constructor(...args) {{ super(...args); sockets += 1; }}
          }};
        """
        url = scene.link("").split("#")[0]
        ann = await scene.open(f"{url}#room={ROOM}", sign_in)
        await ann.state("playing")
        await ann.see("Date.now() > ends")  # a second after the first one's end
        assert await ann.page.evaluate("[sockets, tokens.length, playcast.state]") == [
            1,
            0,
            "playing",
        ]


# Besides ------------------------------------------------------------------------------------------


class Spans(NoTracer):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, float, float]] = []

    def record(
        self,
        name: str,
        *,
        parent: str = "",
        start: float,
        duration_s: float,
        span: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.recorded.append((name, span or parent, start, duration_s))


async def test_one_trace_from_the_click_to_the_first_frame(browser: Chromium) -> None:
    tracer = Spans()
    async with RoomScene(browser, tracer=tracer) as scene:
        eve = await scene.visit("eve")
        peer = await eve.peer()
        wanted = {
            "signalling.connect",
            "signalling.hello",
            "host.offer",
            "offer.answer",
            "ice",
            "dtls",
            ROOT_SPAN,
        }
        async with asyncio.timeout(LONG):
            while not wanted <= {name for name, *_ in tracer.recorded}:
                await eve.page.evaluate("new Promise(requestAnimationFrame)")
        traced = scene.host.room.members[peer].traceparent
    spans = {name: (start, duration) for name, _, start, duration in tracer.recorded}
    # All of it is one trace, the host's too.
    trace_ids = {context.split("-")[1] for _, context, *_ in tracer.recorded}
    assert trace_ids == {traced.split("-")[1]}
    begin, whole = spans[ROOT_SPAN]
    for start, duration in spans.values():
        assert begin <= start + 0.001
        assert start + duration <= begin + whole + 0.001


async def test_panels_by_keyboard_alone(browser: Chromium) -> None:
    async with RoomScene(browser) as scene:
        eve = await scene.visit("eve")
        await eve.page.press("p")
        await eve.see("document.activeElement.id === 'play-title'")
        assert (
            await eve.page.evaluate("document.getElementById('play-button').ariaExpanded") == "true"
        )
        await eve.page.press("Tab")
        await eve.page.press("Tab")
        await eve.see("document.activeElement.ariaLabel === 'Ask: pad 1'")
        await eve.page.press("Escape")
        await eve.see("document.activeElement.id === 'play-button'")
        assert not await eve.page.evaluate("document.getElementById('panel').checkVisibility()")
        await eve.page.press("c")
        await eve.see("document.activeElement.id === 'chat-text'")
        await eve.page.press("s")  # what is typed is no command
        assert not await eve.page.evaluate("overlay.checkVisibility()")
        assert await eve.page.evaluate("document.getElementById('chat-text').value") == "s"


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844), (320, 568), (844, 390)])
async def test_every_panel_fits_the_screen(browser: Chromium, width: int, height: int) -> None:
    async with RoomScene(browser, Configure(pads=8)) as scene:
        boss = await scene.visit("x" * 64, "admin")
        await boss.page.resize(width, height, mobile=width < 1000)
        for key in "pcm":
            await boss.page.press(key)
            if key == "c":
                await boss.say("w" * 500)
                await boss.reads("#chat-log", "www")
                await boss.page.evaluate("document.activeElement.blur()")
            if key == "m":
                await boss.page.evaluate(
                    "document.querySelectorAll('#people-body details').forEach(d => d.open = true)"
                )
            misfits = await boss.page.evaluate(
                """[...document.querySelectorAll("#panel, #panel *, #controls button")]
                  .filter((e) => e.checkVisibility() && !e.closest(".hidden"))
                  .map((e) => [e, e.getBoundingClientRect()])
                  .filter(([e, r]) => r.left < -0.5 || r.right > innerWidth + 0.5)
                  .map(([e]) => e.id || e.className || e.tagName)"""
            )
            assert misfits == []
            assert await boss.page.evaluate("document.getElementById('panel').clientHeight") > 120


async def test_public_rooms_are_listed_and_others_are_not(browser: Chromium) -> None:
    public = Configure(privacy="public", title="<b>Doom</b> for two", policy="approval")
    async with RoomScene(browser, public) as scene:
        url = scene.link("").split("#")[0] + "rooms.html"
        visitor = await scene.open(url)
        await visitor.reads("#rooms", "<b>Doom</b> for two")
        await visitor.reads("#rooms", f"{ROOM} · 0 watching")
        await visitor.reads("#rooms", "they let you in")
        assert await visitor.page.evaluate("document.querySelector('#rooms a, #rooms b b')") is None
        signed_in = "window.playcast = { freshToken: async () => 'a.b.c' };"
        member = await scene.open(url, signed_in)
        await member.reads("#rooms a", "Doom")
        href = await member.page.evaluate("document.querySelector('#rooms a').href")
        assert href == url.replace("rooms.html", f"#room={ROOM}")
    async with RoomScene(browser) as scene:
        visitor = await scene.open(scene.link("").split("#")[0] + "rooms.html")
        await visitor.reads("#rooms-state", "Nobody is casting to the public")
        assert await visitor.page.evaluate("document.querySelectorAll('#rooms li').length") == 0
