import asyncio
import base64
import contextlib
import hashlib
import hmac
import math
import random
import time

import msgspec
import pytest
from websockets.asyncio.client import connect

from signalling.auth import Identity, TokenError, TokenExpired
from signalling.bus import MemoryBus
from signalling.dev import DevIssuer
from signalling.invites import (
    INVITABLE_ROLES,
    InvitationKey,
    Invitations,
    InvitationSettings,
    InvitedOrVerified,
    invitation_id,
    is_invitation,
    read_keys,
)
from signalling.messages import (
    Configure,
    Error,
    Hello,
    Invite,
    Invited,
    Welcome,
    decode_server,
    encode,
)
from signalling.server import SignallingServer
from signalling.settings import SignallingSettings

OLD, NEW = InvitationKey("2026-01", b"o" * 32), InvitationKey("2026-02", b"n" * 32)
ROLES = ("admin", "host", "moderator", "player", "viewer")


class Clock:
    now = 1_800_000_000.25

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def invitations(clock, *keys, **changes):
    return Invitations(InvitationSettings(keys=keys or (OLD,), **changes), clock=clock)


def test_an_invitation_lets_into_its_room_as_its_role(clock):
    token, until = invitations(clock).make("doom", "player", 3600.0, "user-1")
    assert until == 1_800_003_600.0
    # Another server with the same key, whatever else it has.
    identity = invitations(clock, NEW, OLD, stay_s=600.0).verify(token)
    assert identity == Identity(
        f"invite:{invitation_id(token)}",
        "doom",
        frozenset({"player"}),
        until + 600.0,
        frozenset({"link", "invite"}),
    )
    assert identity.role_for("doom", "viewer") == "player"
    assert identity.role_for("doom", "host") is None
    assert identity.role_for("quake", "viewer") is None


def test_an_invitation_is_short_and_fits_into_a_link(clock):
    token, _ = invitations(clock).make("r" * 64, "moderator", 3600.0, "user-1")
    assert len(token) < 200
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert is_invitation(token)
    assert "user-1" not in str(base64.urlsafe_b64decode(token.split(".")[2] + "=="))


def test_it_lets_in_until_it_ends(clock):
    made = invitations(clock)
    token, until = made.make("doom", "viewer", 60.0, "user-1")
    clock.now = until - 0.001
    made.verify(token)
    clock.now = until
    with pytest.raises(TokenExpired, match="has ended"):
        made.verify(token)


def test_no_two_invitations_are_the_same_subject(clock):
    made = invitations(clock)
    subjects = {made.verify(made.make("doom", "viewer", 60.0, "u")[0]).subject for _ in range(20)}
    assert len(subjects) == 20


@pytest.mark.parametrize("role", ROLES)
def test_a_link_makes_nobody_host_or_admin(clock, role):
    if role in INVITABLE_ROLES:
        assert invitations(clock).make("doom", role, 60.0, "u")
        return
    with pytest.raises(ValueError, match="role"):
        invitations(clock).make("doom", role, 60.0, "u")


@pytest.mark.parametrize("for_s", [0.0, -1.0, 32 * 86400.0, float("nan"), float("inf")])
def test_a_lifetime_has_bounds(clock, for_s):
    with pytest.raises(ValueError, match="for_s"):
        invitations(clock).make("doom", "viewer", for_s, "u")


def test_a_rotated_key_is_accepted_until_it_is_taken_away(clock):
    made = invitations(clock, OLD)
    token, _ = made.make("doom", "viewer", 3600.0, "u")
    made.use(InvitationSettings(keys=(NEW, OLD)))
    made.verify(token)
    fresh, _ = made.make("doom", "viewer", 3600.0, "u")
    made.use(InvitationSettings(keys=(NEW,)))
    made.verify(fresh)
    with pytest.raises(TokenError, match="does not count any more"):
        made.verify(token)


def test_a_random_key_is_one_processs_own(clock):
    token, _ = Invitations(clock=clock).make("doom", "viewer", 3600.0, "u")
    with pytest.raises(TokenError):
        Invitations(clock=clock).verify(token)


def test_a_changed_invitation_is_refused_wherever_it_is_changed(clock):
    made = invitations(clock, OLD, InvitationKey("2026-03", NEW.secret))
    token, _ = made.make("doom", "viewer", 3600.0, "u")
    draw = random.Random(7)
    alphabet = "ABCZabcz0189-_.é"
    for place in range(len(token)):
        for letter in draw.sample(alphabet, 4):
            if token[place] != letter:
                with pytest.raises(TokenError):
                    made.verify(token[:place] + letter + token[place + 1 :])
        with pytest.raises(TokenError):
            made.verify(token[:place])
    for tail in ("=", "A", ".", "\n", "\x00"):
        with pytest.raises(TokenError):
            made.verify(token + tail)
    as_other_key = token.replace("invite.2026-01.", "invite.2026-03.")
    with pytest.raises(TokenError, match="not genuine"):
        made.verify(as_other_key)


@pytest.mark.parametrize(
    "grant",
    [
        ["id", "doom", "host", 2_000_000_000],
        ["id", "doom", "admin", 2_000_000_000],
        ["id", "doom", "king", 2_000_000_000],
        ["id", "doom", "viewer", "never"],
        ["id", "doom", "viewer"],
        ["id", "doom", "viewer", 2_000_000_000, "more"],
        {"id": "id"},
        7,
    ],
)
def test_what_the_key_signed_elsewhere_is_still_checked(clock, grant):
    made = invitations(clock)
    payload = base64.urlsafe_b64encode(msgspec.msgpack.encode(grant)).rstrip(b"=").decode()
    signed = f"invite.{OLD.id}.{payload}"
    mac = hmac.new(OLD.secret, signed.encode(), hashlib.sha256).digest()[:16]
    token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(TokenError):
        made.verify(token)


async def test_a_server_takes_invitations_besides_tokens(clock):
    issuer = DevIssuer.generate()
    made = invitations(clock)
    both = InvitedOrVerified(issuer.verifier(), made)
    assert both.loopback_only
    assert (await both.verify(issuer.mint("me", "doom", "host"))).roles == {"host"}
    token, _ = made.make("doom", "viewer", 60.0, "u")
    assert (await both.verify(token)).marks == {"link", "invite"}
    for bad in ("invite.", "invite.a.b.c", token[:-1], "nonsense", ""):
        with pytest.raises(TokenError):
            await both.verify(bad)
    await both.close()


# Keys -------------------------------------------------------------------------------------------


def test_keys_are_read_from_lines():
    secret = base64.b64encode(b"\xff" * 32).decode()
    text = (
        f"# newest first\n\n 2026-02 : {secret} \n2026-01:{secret.replace('/', '_').rstrip('=')}\n"
    )
    assert read_keys(text) == (
        InvitationKey("2026-02", b"\xff" * 32),
        InvitationKey("2026-01", b"\xff" * 32),
    )
    assert read_keys("\n# none\n") == ()


@pytest.mark.parametrize(
    "line", ["no-colon-sesame", "a b:c2VzYW1l", "k:sesame!", "k:c2VzYW1l", ":c2VzYW1l"]
)
def test_a_line_that_holds_no_key_is_named_and_not_shown(line):
    with pytest.raises(ValueError, match="line 2") as caught:
        read_keys(f"# keys\n{line}\n")
    assert "sesame" not in str(caught.value)
    assert "c2VzYW1l" not in str(caught.value)


def test_no_key_shows_its_secret():
    assert "oooo" not in repr(OLD)
    assert "oooo" not in repr(InvitationSettings(keys=(OLD,)))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"keys": ()}, "keys"),
        ({"keys": (OLD, InvitationKey(OLD.id, NEW.secret))}, "keys"),
        ({"stay_s": -1.0}, "stay_s"),
        ({"stay_s": float("nan")}, "stay_s"),
    ],
)
def test_settings_that_make_no_sense_are_misuse(changes, names):
    with pytest.raises(ValueError, match=names):
        InvitationSettings(**{"keys": (OLD,), **changes})


# Through a server -------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def member(server, token, role="viewer", room="den"):
    async with connect(server.websocket_url, proxy=None) as socket:
        await socket.send(encode(Hello(token, room, role)))
        yield socket


async def next_of(socket, *kinds):
    async with asyncio.timeout(10):
        while True:
            message = decode_server(await socket.recv())
            if isinstance(message, kinds):
                return message


async def test_a_host_invites_and_a_stranger_comes_in_on_another_server(clock):
    issuer = DevIssuer.generate()
    bus = MemoryBus()
    settings = [
        SignallingSettings(
            verifier=issuer.verifier(), port=0, invitations=invitations(clock, *keys, stay_s=600.0)
        )
        for keys in ((OLD,), (NEW, OLD))
    ]
    async with (
        SignallingServer(settings[0], bus=bus) as one,
        SignallingServer(settings[1], bus=bus) as other,
        member(one, issuer.mint("ann", "den", "host"), "host") as host,
    ):
        await next_of(host, Welcome)
        await host.send(encode(Configure(id="1", policy="invite")))
        await host.send(encode(Invite(id="2", role="player", for_s=60.0)))
        made = await next_of(host, Invited, Error)
        assert (made.id, made.until) == ("2", math.floor(clock.now + 60.0))

        async with member(other, issuer.mint("bob", "den", "viewer")) as uninvited:
            assert (await next_of(uninvited, Error, Welcome)).code == "not-admitted"
        async with member(other, made.token) as guest:
            welcome = await next_of(guest, Error, Welcome)
            assert (welcome.role, welcome.host_present) == ("player", True)
        async with member(other, made.token, room="arena") as elsewhere:
            assert (await next_of(elsewhere, Error, Welcome)).code == "forbidden"
        async with member(other, made.token, "host") as usurper:
            assert (await next_of(usurper, Error, Welcome)).code == "forbidden"
        async with member(other, made.token[:-1]) as forger:
            assert (await next_of(forger, Error, Welcome)).code == "bad-token"

        await host.send(encode(Invite(id="3", role="admin")))
        refused = await next_of(host, Invited, Error)
        assert (refused.id, refused.code) == ("3", "forbidden")

        clock.now = made.until
        async with member(other, made.token) as late:
            assert (await next_of(late, Error, Welcome)).code == "token-expired"


async def test_a_session_ends_when_the_stay_after_its_invitation_does(clock):
    """The socket's own clock is the wall's: the invitation's end is put just before now."""
    clock.now = time.time() - 58.5
    made = invitations(clock, stay_s=60.0)
    token, until = made.make("den", "viewer", 0.9, "ann")
    clock.now = until - 0.1
    settings = SignallingSettings(
        verifier=DevIssuer.generate().verifier(), port=0, invitations=made
    )
    async with SignallingServer(settings) as server, member(server, token) as guest:
        await next_of(guest, Welcome)
        assert (await next_of(guest, Error)).code == "token-expired"
        assert time.time() >= until + 60.0
