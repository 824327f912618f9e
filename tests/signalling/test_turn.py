import asyncio
import logging
import ssl
import time

import pytest
from aioice import stun
from aioice.turn import TurnClientUdpProtocol, create_turn_endpoint

from signalling.messages import IceServer
from signalling.turn import TurnCredentials, TurnRegion, parse_regions, turn_credentials
from tests.peer.turn_server import TurnServer

STUN = IceServer(["stun:stun.example:3478"])


def region(name="eu", urls=("turn:eu.example:3478?transport=udp",), secret="north"):
    return TurnRegion(name=name, urls=tuple(urls), secret=lambda: secret)


def asked(source, **how):
    return source.ice_servers(room="den", peer="p1", now=1_700_000_000.9, **how)


def test_credentials_are_coturns():
    """As ``printf %s NAME | openssl dgst -sha1 -hmac north -binary | base64`` has it."""
    assert turn_credentials("north", "p1", 1_700_003_600.9) == (
        "1700003600:p1",
        "4EEMVinF9VQKZF50YH25G6+f6lw=",
    )


def test_a_peer_gets_static_servers_and_credentials_of_its_own():
    source = TurnCredentials([region()], static=[STUN], lifetime_s=600)
    stun, turn = asked(source)
    assert stun == STUN
    assert turn.urls == ["turn:eu.example:3478?transport=udp"]
    assert turn.username == "1700000600:p1"
    assert turn.credential == turn_credentials("north", "p1", 1_700_000_600)[1]
    (_, other) = source.ice_servers(room="den", peer="p2", now=1_700_000_000.9)
    assert other.username == "1700000600:p2"
    assert other.credential != turn.credential


@pytest.mark.parametrize(
    ("hint", "home", "url"),
    [
        ("", "", "turn:eu.example"),
        ("us", "", "turn:us.example"),
        ("mars", "", "turn:eu.example"),
        ("", "us", "turn:us.example"),
        ("eu", "us", "turn:eu.example"),
        ("mars", "us", "turn:us.example"),
    ],
)
def test_the_region_is_the_clients_or_the_settings(hint, home, url):
    regions = [region("eu", ["turn:eu.example"]), region("us", ["turn:us.example"], "south")]
    (turn,) = asked(TurnCredentials(regions, home=home), region=hint)
    assert turn.urls == [url]
    secret = {"turn:eu.example": "north", "turn:us.example": "south"}[url]
    assert turn.credential == turn_credentials(secret, "p1", 1_700_043_200)[1]


def test_a_secret_may_change(caplog):
    secret = "old"
    source = TurnCredentials(
        [TurnRegion(name="eu", urls=("turn:eu.example",), secret=lambda: secret)], static=[STUN]
    )
    before = asked(source)[1].credential
    secret = "new"
    assert asked(source)[1].credential == turn_credentials("new", "p1", 1_700_043_200)[1] != before
    secret = ""
    with caplog.at_level(logging.ERROR):
        assert asked(source) == [STUN], "an empty key is everybody's"
        assert asked(source) == [STUN]
    assert [record.message for record in caplog.records] == [
        "No TURN credentials for region eu: it has no secret"
    ]


def test_a_secret_is_not_shown():
    shown = repr(region(secret="north"))
    assert "eu.example" in shown
    assert "north" not in shown


def test_what_is_handed_out_is_counted():
    issued = []
    secret = "north"
    source = TurnCredentials(
        [TurnRegion(name="eu", urls=("turn:eu.example",), secret=lambda: secret)],
        static=[STUN],
        issued=lambda: issued.append(1),
    )
    asked(source)
    asked(source)
    secret = ""
    asked(source)
    assert len(issued) == 2


def test_regions_are_read_from_words():
    words = [
        "eu=turn:eu.example:3478?transport=udp",
        "us=turn:[2001:db8::1]:3478",
        "eu=turns:eu.example:5349?transport=tcp",
    ]
    eu, us = parse_regions(words, lambda: "one-for-all==")
    assert (eu.name, eu.urls, eu.secret()) == ("eu", (words[0][3:], words[2][3:]), "one-for-all==")
    assert (us.name, us.urls, us.secret()) == ("us", (words[1][3:],), "one-for-all==")
    assert parse_regions([], lambda: "") == ()


def test_each_region_may_have_a_secret_of_its_own():
    secrets = "eu=north= us=south"
    eu, us, ap = parse_regions(
        [f"{n}=turn:{n}.example" for n in ("eu", "us", "ap")], lambda: secrets
    )
    assert (eu.secret(), us.secret(), ap.secret()) == ("north=", "south", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn:eu.example",
        "=turn:eu.example",
        "eu=",
        "eu=stun:eu.example",
        "eu=turn:user:password@eu.example",
        "eu=turn:eu.example?transport=sctp",
        "eu=turn:eu.example:port",
        "e u=turn:eu.example",
        "eu=turn:eu.example\n",
    ],
)
def test_what_is_no_region_is_told(text):
    with pytest.raises(ValueError, match="a TURN region is"):
        parse_regions([text], lambda: "x")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"regions": []}, "regions"),
        ({"regions": [region(), region()]}, "regions"),
        ({"regions": [region()], "home": "mars"}, "home"),
        ({"regions": [region()], "lifetime_s": 0}, "lifetime_s"),
    ],
)
def test_misuse_is_named(how, words):
    with pytest.raises(ValueError, match=f"^{words}:"):
        TurnCredentials(**how)


@pytest.mark.parametrize(
    ("how", "words"), [({"name": ""}, "name"), ({"urls": ()}, "urls"), ({"urls": ["x"]}, "urls")]
)
def test_a_region_names_what_is_wrong(how, words):
    with pytest.raises(ValueError, match=f"^{words}:"):
        region(**how)


# A real coturn --------------------------------------------------------------------------------


@pytest.fixture
async def coturn(tmp_path):
    async with TurnServer(tmp_path, secret="north", tls=True) as server:
        yield server


async def relayed(coturn, transport, ice_server):
    """Send something to oneself through an allocation on the server; what came back."""
    trust = None
    if transport == "tls":
        trust = ssl.create_default_context(cafile=coturn.certificate)
    port = coturn.tls_port if transport == "tls" else coturn.port
    got = asyncio.get_running_loop().create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            if not got.done():
                got.set_result(data)

    allocation, _ = await create_turn_endpoint(
        Receiver,
        ("127.0.0.1", port),
        ice_server.username,
        ice_server.credential,
        ssl=trust,
        transport="udp" if transport == "udp" else "tcp",
    )
    own = allocation.get_extra_info("sockname")
    try:
        allocation.sendto(b"there and back", own)
        async with asyncio.timeout(10):
            return await got
    finally:
        allocation.close()


def made_for(coturn, *, secret="north", now=None):
    region = TurnRegion(
        name="here",
        urls=tuple(coturn.url(transport) for transport in ("udp", "tcp", "tls")),
        secret=lambda: secret,
    )
    source = TurnCredentials([region], lifetime_s=60)
    moment = time.time() if now is None else now
    (server,) = source.ice_servers(room="den", peer="p1", now=moment)
    return server


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_coturn_takes_them(coturn, transport):
    assert await relayed(coturn, transport, made_for(coturn)) == b"there and back"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("wrong", ["secret", "ended", "prolonged"])
async def test_coturn_refuses_what_is_not_good(coturn, transport, wrong):
    server = {
        "secret": lambda: made_for(coturn, secret="south"),
        "ended": lambda: made_for(coturn, now=time.time() - 120),
        "prolonged": lambda: prolonged(made_for(coturn, now=time.time() - 120)),
    }[wrong]()
    with pytest.raises(stun.TransactionFailed) as refusal:
        await relayed(coturn, transport, server)
    assert refusal.value.response.attributes["ERROR-CODE"][0] == 401


def prolonged(server):
    """The end is in the name, and the name is signed."""
    _, peer = server.username.split(":")
    username = f"{int(time.time()) + 3600}:{peer}"
    return IceServer(server.urls, username, server.credential)


async def test_what_is_allocated_goes_on_when_its_credentials_end(coturn):
    until = int(time.time()) + 1
    username, credential = turn_credentials("north", "p1", until)
    client = TurnClientUdpProtocol(
        ("127.0.0.1", coturn.port), username, credential, lifetime=600, channel_refresh_time=500
    )
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: client, remote_addr=("127.0.0.1", coturn.port)
    )
    try:
        await client.connect()
        await asyncio.sleep(until + 1 - time.time())  # coturn has no clock but the wall's
        refresh = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
        refresh.attributes["LIFETIME"] = 600
        response, _ = await client.request_with_retry(refresh)
        assert response.attributes["LIFETIME"] == 600
    finally:
        await client.delete()
        transport.close()
