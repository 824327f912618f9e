"""What offers and answers are made of, in both directions: transports, formats, data channels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from peer.sdp_lines import Line, SdpError, Section

DtlsSetup = Literal["actpass", "active", "passive"]

EXTENSION_URIS = {
    "mid": "urn:ietf:params:rtp-hdrext:sdes:mid",
    "abs-send-time": "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "transport-cc": "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "playout-delay": "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "dependency-descriptor": "https://aomediacodec.github.io/av1-rtp-spec/"
    "#dependency-descriptor-rtp-header-extension",
}
"""The RTP header extensions of the offer; each one's id is its place, from 1 (RFC 8285)."""

SCTP_PORT = 5000
MAX_MESSAGE_SIZE = 262144
_REPAIR_WINDOW_US = 10_000_000
"""libwebrtc's: how long a repair packet may come after the packets that it protects."""

MAX_CANDIDATES = 64
"""How many candidates of a description are read; the rest is ignored."""

_FLEXFEC_FEEDBACK = ("goog-remb", "transport-cc")

RTX = "RTX/90000"
FLEXFEC = "FLEXFEC-03/90000"
"""draft-ietf-payload-flexible-fec-scheme-03, as libwebrtc has it."""

_HASH_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_ICE_CHARACTERS = re.compile(r"[A-Za-z0-9+/]+")
_HEX_BYTES = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2})*")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a DTLS certificate (RFC 8122): "sha-256" and "AB:CD:…"."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class Transport:
    """One side's ICE and DTLS parameters."""

    ufrag: str
    password: str
    fingerprints: tuple[Fingerprint, ...]
    setup: DtlsSetup = "actpass"
    candidates: tuple[str, ...] = ()
    """Values of a=candidate, without "candidate:"."""
    complete: bool = False
    """No more candidates will come."""
    ice_lite: bool = False


class Formats:
    """The formats of one media section: payload types, in order of preference."""

    def __init__(self, section: Section) -> None:
        """SdpError for payload types and attributes that are malformed."""
        for text in section.formats:
            if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= 127):
                raise SdpError("a payload type is not in 0..127", section.media)
        self.order = tuple(int(text) for text in section.formats)
        names = {number: name for number, name in _read_rtpmaps(section) if number in self.order}
        self.names: dict[int, str] = names
        """Encoding and clock rate by payload type, in upper case: "H264/90000"."""
        self._parameters = dict(_read_parameters(section))
        self._feedback = [line.fields(2) for line in section.all("rtcp-fb")]

    def parameters(self, number: int) -> dict[str, str]:
        """What a=fmtp says; names in lower case."""
        return self._parameters.get(number, {})

    def rtx_of(self, number: int) -> int:
        """The payload type of its retransmissions (RFC 4588); 0 = none."""
        for candidate, name in self.names.items():
            if name == RTX and self.parameters(candidate).get("apt") == str(number):
                return candidate
        return 0

    @property
    def flexfec(self) -> int:
        """FlexFEC's payload type; 0 = none."""
        return next((number for number, name in self.names.items() if name == FLEXFEC), 0)

    def feedback(self, number: int) -> frozenset[str]:
        """The RTCP feedback of a payload type, as "nack pli"."""
        return frozenset(value for target, value in self._feedback if target in (str(number), "*"))


@dataclass(frozen=True, slots=True)
class Channels:
    """How one side takes data channels."""

    sctp_port: int = SCTP_PORT
    max_message_size: int = 65536
    """Bytes that it takes in one message; 0 = any number."""


# Writing ----------------------------------------------------------------------------------------


def transport_lines(transport: Transport) -> Iterator[str]:
    """A section's lines of one side's ICE and DTLS."""
    yield "c=IN IP4 0.0.0.0"
    yield f"a=ice-ufrag:{transport.ufrag}"
    yield f"a=ice-pwd:{transport.password}"
    yield "a=ice-options:trickle"
    for fingerprint in transport.fingerprints:
        yield f"a=fingerprint:{fingerprint.algorithm} {fingerprint.value}"
    yield f"a=setup:{transport.setup}"
    for candidate in transport.candidates:
        yield f"a=candidate:{candidate}"
    if transport.complete:
        yield "a=end-of-candidates"


def flexfec_lines(number: int) -> Iterator[str]:
    """The lines of FlexFEC as a format."""
    yield f"a=rtpmap:{number} {FLEXFEC.lower()}"
    for feedback in _FLEXFEC_FEEDBACK:
        yield f"a=rtcp-fb:{number} {feedback}"
    yield f"a=fmtp:{number} repair-window={_REPAIR_WINDOW_US}"


def channel_lines(mid: str) -> Iterator[str]:
    """A data section's lines, without the transport's."""
    if mid:
        yield f"a=mid:{mid}"
    yield f"a=sctp-port:{SCTP_PORT}"
    yield f"a=max-message-size:{MAX_MESSAGE_SIZE}"


# Reading ----------------------------------------------------------------------------------------


def read_transport(session: Section, section: Section, setups: tuple[DtlsSetup, ...]) -> Transport:
    """A section's transport; a=setup may be one of `setups`. SdpError says what is wrong."""
    ufrag = _required(session, section, "ice-ufrag")
    password = _required(session, section, "ice-pwd")
    for line, low in ((ufrag, 4), (password, 22)):
        if not low <= len(line.value) <= 256 or not _ICE_CHARACTERS.fullmatch(line.value):
            raise SdpError(f"takes {low} to 256 letters, digits, + and /", line)
    setup = _required(session, section, "setup")
    role = next((known for known in setups if known == setup.value), None)
    if role is None:
        raise SdpError(f"takes {' or '.join(setups)} here", setup)
    lines = list(section.all("fingerprint")) or list(session.all("fingerprint"))
    fingerprints = tuple(f for line in lines if (f := _read_fingerprint(line)) is not None)
    if not fingerprints:
        raise SdpError("there is no a=fingerprint of sha-256, sha-384 or sha-512", section.media)
    candidates = tuple(line.value for line in section.all("candidate"))
    return Transport(
        ufrag=ufrag.value,
        password=password.value,
        fingerprints=fingerprints,
        setup=role,
        candidates=candidates[:MAX_CANDIDATES],
        complete=section.has("end-of-candidates") or session.has("end-of-candidates"),
        ice_lite=session.has("ice-lite"),
    )


def _required(session: Section, section: Section, name: str) -> Line:
    line = section.first(name) or session.first(name)
    if line is None:
        raise SdpError(f"the section has no a={name}", section.media)
    return line


def _read_fingerprint(line: Line) -> Fingerprint | None:
    algorithm, value = line.fields(2)
    size = _HASH_BYTES.get(algorithm.lower())
    if size is None:
        return None
    value = value.upper()
    if not _HEX_BYTES.fullmatch(value) or len(value) != 3 * size - 1:
        raise SdpError(f"{algorithm} takes {size} bytes in hexadecimal, with colons", line)
    return Fingerprint(algorithm.lower(), value)


def read_channels(section: Section) -> Channels:
    """How a data section takes channels. SdpError when it is of another kind."""
    if section.formats != ("webrtc-datachannel",):
        raise SdpError("the section takes webrtc-datachannel", section.media)
    port, size = section.first("sctp-port"), section.first("max-message-size")
    return Channels(
        sctp_port=SCTP_PORT if port is None else port.integer(port.value, 1, 65535),
        max_message_size=65536 if size is None else size.integer(size.value, 0, 2**32 - 1),
    )


def _read_rtpmaps(section: Section) -> Iterator[tuple[int, str]]:
    for line in section.all("rtpmap"):
        number, name = line.fields(2)
        yield line.integer(number, 0, 127), name.upper()


def _read_parameters(section: Section) -> Iterator[tuple[int, dict[str, str]]]:
    for line in section.all("fmtp"):
        number, text = line.fields(2)
        pairs = (item.strip().partition("=") for item in text.split(";"))
        yield line.integer(number, 0, 127), {name.lower(): value for name, _, value in pairs}
