"""DTLS-SRTP (RFC 5764): the handshake by aiortc, the keys for the hub.

An AEAD pass of AES-GCM costs a fraction of counter mode plus HMAC-SHA1. The server of a handshake
chooses the profile, and Chromium chooses AES128_CM_SHA1_80 wherever it is offered. Browsers answer
as DTLS clients, so that we are the server: then GCM is chosen where the viewer has it. Where we
are the client, counter mode is offered only when nothing else is wanted. So accepting it as well
costs nothing with viewers that have GCM; the default does without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    SRTPProtectionProfile,
)

from native import SrtpProfile
from peer._aiortc import DtlsLink, DtlsSession
from peer.sdp import Fingerprint

_AIORTC_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: SRTP_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: SRTP_AEAD_AES_256_GCM,
    SrtpProfile.AES128_CM_SHA1_80: SRTP_AES128_CM_SHA1_80,
}
_COUNTER_MODE = SrtpProfile.AES128_CM_SHA1_80

GCM_PROFILES = (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)
"""What is accepted by default, in order of preference."""


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What the handshake agreed on: master keys, each followed by its master salt."""

    profile: SrtpProfile
    send: bytes
    receive: bytes


class Certificate:
    """The key and self-signed certificate of a host: made once, shown to every viewer."""

    def __init__(self) -> None:
        self.rtc = RTCCertificate.generateCertificate()
        self.fingerprints = tuple(
            Fingerprint(f.algorithm, f.value)
            for f in self.rtc.getFingerprints()
            if f.algorithm == "sha-256"
        )


class DtlsTransport:
    """One connection's DTLS: `start` shakes hands, then data channels may use `session`."""

    def __init__(
        self,
        link: DtlsLink,
        certificate: Certificate,
        *,
        profiles: Sequence[SrtpProfile] = GCM_PROFILES,
        on_closed: Callable[[], None],
    ) -> None:
        if not profiles:
            raise ValueError("profiles takes at least one SRTP profile")
        self._profiles = tuple(profiles)
        self._keys: SrtpKeys | None = None
        self._on_closed = on_closed
        self._stopped = False
        self.session = DtlsSession(
            link,
            certificate.rtc,
            self._take_keys,
        )
        self.session.on("statechange", self._state_changed)

    async def start(
        self, fingerprints: Sequence[Fingerprint], *, server: bool, timeout: float
    ) -> SrtpKeys:
        """Shake hands with whoever has that certificate, as the DTLS server or client.

        ConnectionError says why it failed; `timeout` is in seconds.
        """
        offered = self._profiles
        if not server:
            offered = tuple(p for p in offered if p is not _COUNTER_MODE) or offered
        self.session.configure(server, [_AIORTC_PROFILES[profile] for profile in offered])
        parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(f.algorithm, f.value) for f in fingerprints]
        )
        try:
            await asyncio.wait_for(self.session.start(parameters), timeout)
        except TimeoutError:
            raise ConnectionError("the DTLS handshake was not finished in time") from None
        assert self._keys is not None
        return self._keys

    async def stop(self) -> None:
        """Send close_notify, end every task. Stopping twice is fine."""
        self._stopped = True
        await self.session.stop()

    def _take_keys(self, profile: SRTPProtectionProfile, send: bytes, receive: bytes) -> None:
        number = next(n for n, p in _AIORTC_PROFILES.items() if p is profile)
        self._keys = SrtpKeys(number, send, receive)

    def _state_changed(self) -> None:
        if self.session.state == "closed" and not self._stopped:
            self._on_closed()
