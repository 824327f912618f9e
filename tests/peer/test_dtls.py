"""The DTLS handshake against plain aiortc, and the keys that come out of it."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest
from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)

from native import SrtpProfile
from peer.dtls import GCM_PROFILES, Certificate, DtlsTransport, SrtpKeys
from peer.sdp import Fingerprint

CERTIFICATE = Certificate()
GCM_128, GCM_256, CM_80 = (
    SrtpProfile.AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM,
    SrtpProfile.AES128_CM_SHA1_80,
)


class Wire:
    """One end of a lossless link, as ours and aiortc's ICE transports look to DTLS."""

    role = "controlled"

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.other: Wire | None = None
        self._recv, self._send = self.recv, self.send

    async def recv(self) -> bytes:
        data = await self.inbox.get()
        if data is None:
            raise ConnectionError("the link is gone")
        return data

    async def send(self, data: bytes) -> None:
        assert self.other is not None
        self.other.inbox.put_nowait(data)


class Remote(RTCDtlsTransport):
    """Plain aiortc, which keeps the keys that it exports."""

    def __init__(self, wire: Wire, profiles: list[SRTPProtectionProfile], role: str) -> None:
        self.certificate = RTCCertificate.generateCertificate()
        super().__init__(cast(Any, wire), [self.certificate])
        self._srtp_profiles = profiles
        self._set_role(role)
        self.material = b""

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        if self._tx_srtp is not None:
            self.material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 88)


class Pair:
    """Our transport and a remote one, with a link between them."""

    def __init__(
        self,
        ours: tuple[SrtpProfile, ...] = GCM_PROFILES,
        theirs: list[SRTPProtectionProfile] | None = None,
        *,
        server: bool = True,
    ) -> None:
        self.wire, far = Wire(), Wire()
        self.wire.other, far.other = far, self.wire
        self.server = server
        self.closed = asyncio.Event()
        self.ours = DtlsTransport(self.wire, CERTIFICATE, profiles=ours, on_closed=self.closed.set)
        default = [SRTP_AEAD_AES_256_GCM, SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80]
        self.remote = Remote(far, theirs or default, "client" if server else "server")

    async def start(self, fingerprints: list[Fingerprint] | None = None) -> SrtpKeys:
        theirs = [
            Fingerprint(f.algorithm, f.value) for f in self.remote.certificate.getFingerprints()
        ]
        parameters = RTCDtlsParameters(fingerprints=cast(Any, list(CERTIFICATE.fingerprints)))
        starting = asyncio.create_task(self.remote.start(parameters))
        try:
            keys = await self.ours.start(fingerprints or theirs, server=self.server, timeout=10)
            await asyncio.wait_for(starting, 10)
        finally:
            starting.cancel()
            await asyncio.wait([starting])
        return keys

    async def stop(self) -> None:
        await self.ours.stop()
        task = self.remote._task
        await self.remote.stop()
        if task is not None:
            await asyncio.wait([task])


@pytest.mark.parametrize(
    ("ours", "theirs", "server", "chosen"),
    [
        (GCM_PROFILES, None, True, GCM_128),
        (GCM_PROFILES, [SRTP_AEAD_AES_256_GCM], True, GCM_256),
        ((*GCM_PROFILES, CM_80), [SRTP_AES128_CM_SHA1_80, SRTP_AEAD_AES_128_GCM], True, GCM_128),
        ((*GCM_PROFILES, CM_80), [SRTP_AES128_CM_SHA1_80], True, CM_80),
        (GCM_PROFILES, None, False, GCM_256),
        # The server would choose counter mode: as client we do not offer it beside GCM.
        ((*GCM_PROFILES, CM_80), [SRTP_AES128_CM_SHA1_80, SRTP_AEAD_AES_128_GCM], False, GCM_128),
        ((CM_80,), None, False, CM_80),
    ],
)
async def test_both_sides_get_the_same_keys(
    ours: tuple[SrtpProfile, ...],
    theirs: list[SRTPProtectionProfile] | None,
    server: bool,
    chosen: SrtpProfile,
) -> None:
    pair = Pair(ours, theirs, server=server)
    keys = await pair.start()
    assert keys.profile is chosen
    key, salt = {GCM_128: (16, 12), GCM_256: (32, 12), CM_80: (16, 14)}[chosen]
    # RFC 5764 section 4.2: client key, server key, client salt, server salt.
    raw = pair.remote.material
    client = raw[:key] + raw[2 * key : 2 * key + salt]
    server_keys = raw[key : 2 * key] + raw[2 * key + salt : 2 * (key + salt)]
    assert (keys.send, keys.receive) == ((server_keys, client) if server else (client, server_keys))
    await pair.stop()


async def test_no_common_profile_says_so() -> None:
    pair = Pair(theirs=[SRTP_AES128_CM_SHA1_80])
    with pytest.raises(ConnectionError, match="no SRTP profile in common"):
        await pair.start()
    await pair.stop()


async def test_another_certificate_says_so() -> None:
    pair = Pair()
    with pytest.raises(ConnectionError, match="not the one its description"):
        await pair.start([Fingerprint("sha-256", ":".join(["00"] * 32))])
    await pair.stop()


async def test_silence_ends_in_time() -> None:
    pair = Pair()
    with pytest.raises(ConnectionError, match="not finished in time"):
        await pair.ours.start(CERTIFICATE.fingerprints, server=True, timeout=0.05)
    await pair.stop()


async def test_a_lost_link_ends_the_handshake() -> None:
    pair = Pair()
    pair.wire.inbox.put_nowait(None)
    with pytest.raises(ConnectionError, match="handshake failed"):
        await pair.ours.start(CERTIFICATE.fingerprints, server=True, timeout=10)
    await pair.stop()


async def test_rubbish_amid_the_handshake_is_survived() -> None:
    rng = random.Random(3)
    pair = Pair()
    for _ in range(200):
        header = bytes([rng.choice((20, 21, 23, 63)), 0xFE, 0xFD])
        pair.wire.inbox.put_nowait(header + rng.randbytes(rng.randrange(12, 80)))
    keys = await pair.start()
    assert keys.profile is GCM_128
    await pair.stop()


async def test_close_notify_is_heard_and_said() -> None:
    pair = Pair()
    await pair.start()
    await pair.remote.stop()
    await asyncio.wait_for(pair.closed.wait(), 10)
    await pair.stop()

    pair = Pair()
    await pair.start()
    closed = asyncio.Event()
    pair.remote.on("statechange", closed.set)
    await pair.ours.stop()
    await asyncio.wait_for(closed.wait(), 10)
    assert pair.remote.state == "closed"
    assert not pair.closed.is_set(), "our own end is no news"
    await pair.stop()


@pytest.mark.parametrize("error", [AssertionError(), ValueError(), KeyError(1), IndexError()])
async def test_a_protocol_violation_ends_the_connection_quietly(error: Exception) -> None:
    class Victim:
        async def _handle_data(self, data: bytes) -> None:
            raise error

    pair = Pair()
    await pair.start()
    pair.ours.session._register_data_receiver(Victim())
    await pair.remote._send_data(b"whatever")
    await asyncio.wait_for(pair.closed.wait(), 10)
    await pair.stop()


def test_profiles_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="profiles takes at least one"):
        DtlsTransport(Wire(), CERTIFICATE, profiles=(), on_closed=lambda: None)
