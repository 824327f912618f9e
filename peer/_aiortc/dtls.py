"""aiortc's DTLS, which hands its SRTP keys out instead of keeping libsrtp sessions."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from aiortc import RTCCertificate, RTCIceTransport
from aiortc.rtcdtlstransport import (
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
)
from OpenSSL import SSL

logger = logging.getLogger(__name__)


class DtlsLink(Protocol):
    """What carries DTLS datagrams. It may change its way between two of them (ICE restart)."""

    @property
    def role(self) -> str:
        """The ICE role: "controlling" or "controlled"."""

    async def recv(self) -> bytes:
        """The next datagram. ConnectionError: there will be none."""

    async def send(self, data: bytes) -> None:
        """Send a datagram. ConnectionError: there is no way to."""


class _IceTransport:
    """A link as aiortc's DTLS wants its ICE transport: it reads these three names and no more."""

    def __init__(self, link: DtlsLink) -> None:
        self._link = link
        self._recv = link.recv
        self._send = link.send

    @property
    def role(self) -> str:
        return self._link.role


class DtlsSession(RTCDtlsTransport):
    """aiortc's DTLS that hands its SRTP keys out instead of keeping libsrtp sessions."""

    def __init__(
        self,
        link: DtlsLink,
        certificate: RTCCertificate,
        on_keys: Callable[[SRTPProtectionProfile, bytes, bytes], None],
    ) -> None:
        super().__init__(cast(RTCIceTransport, _IceTransport(link)), [certificate])
        self._on_keys = on_keys
        self.failure = ""
        """Why the handshake failed, in words."""

    def configure(self, server: bool, profiles: Sequence[SRTPProtectionProfile]) -> None:
        """Be the DTLS server or client, with these SRTP profiles in order of preference.

        Left alone, aiortc decides by the ICE role, and takes every profile that libsrtp has.
        """
        self._set_role("server" if server else "client")
        self._srtp_profiles = list(profiles)

    async def start(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        """Shake hands. ConnectionError says in words why it failed."""
        self.failure = "the DTLS handshake failed"
        try:
            await super().start(remoteParameters)
        except (ValueError, SSL.Error) as error:  # a certificate that cannot be read
            raise ConnectionError(f"{self.failure}: {error}") from error
        if self._state is not State.CONNECTED:
            raise ConnectionError(self.failure)

    async def stop(self) -> None:
        """Send close_notify and end the reading task."""
        # aiortc cancels its task and forgets it.
        task = self._task
        await super().stop()
        if task is not None:
            await asyncio.wait([task])

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        self.failure = "the other side's certificate is not the one its description announced"
        super()._validate_peer_identity(remoteParameters)

    def _setup_srtp(self) -> None:
        # aiortc would make libsrtp sessions of the keys; here the hub protects all media.
        self.failure = "the two sides have no SRTP profile in common"
        assert self._ssl is not None
        chosen = self._ssl.get_selected_srtp_profile()
        profile = next((p for p in self._srtp_profiles if p.openssl_profile == chosen), None)
        if profile is None:
            self._set_state(State.FAILED)
            return
        size = 2 * (profile.key_length + profile.salt_length)
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        # RFC 5764 section 4.2: the client's write key comes first.
        client, server = (profile.get_key_and_salt(material, i) for i in (0, 1))
        if self._role == "server":
            self._on_keys(profile, server, client)
        else:
            self._on_keys(profile, client, server)

    async def _recv_next(self) -> None:
        try:
            await super()._recv_next()
        except (AssertionError, IndexError, KeyError, ValueError, struct.error, SSL.Error) as error:
            # aiortc asserts what an SCTP or data channel peer sends; a violation would end its
            # task with a traceback. RFC 9260 lets the association end.
            logger.warning("the other side violates DTLS, SCTP or its data channels: %r", error)
            raise ConnectionError("protocol violation") from error
