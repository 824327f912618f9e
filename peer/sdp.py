"""The offer that a host makes (RFC 8829, RFC 3264), and the viewer's answer to it.

::

    offer = Offer(transport, VideoOffer(width=1920, height=1080, fps=60), data_channel=True)
    text = offer.to_sdp()
    answer = read_answer(reply, offer)      # SdpError: in words, what is wrong with it
    answer.video.codec, answer.video.payload_type, answer.transport.ufrag, …

One bundled transport; a section for each medium, made by a function of its own out of typed
parts, so that another medium or another format is another part and nothing else.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from native import Codec, Profile
from peer.h264 import level_for, profile_level_id, profile_of
from peer.sdp_lines import Line, SdpError, Section, read_sections

__all__ = [
    "EXTENSION_URIS",
    "Answer",
    "DtlsSetup",
    "Fingerprint",
    "Format",
    "Offer",
    "SdpError",
    "Transport",
    "VideoAnswer",
    "VideoOffer",
    "read_answer",
]

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

VIDEO_MID = "0"
DATA_MID = "1"
SCTP_PORT = 5000
MAX_MESSAGE_SIZE = 262144
MAX_CANDIDATES = 64
"""How many candidates of an answer are read; the rest is ignored."""

_VIDEO_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
_FLEXFEC_FEEDBACK = ("goog-remb", "transport-cc")
_HASH_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_FIRST_PAYLOAD_TYPE = 96
_MAX_FORMATS = 15
"""As many as payload types 96..125 hold with their retransmissions; 126 is then FlexFEC's."""
_FLEXFEC = "flexfec-03/90000"
_REPAIR_WINDOW_US = 10_000_000
"""libwebrtc's: how long a repair packet may come after the packets that it protects."""
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


@dataclass(frozen=True, slots=True)
class Format:
    """One way to send a medium: an RTP payload type, and the one of its retransmissions."""

    codec: Codec
    payload_type: int
    rtx_payload_type: int
    profile: Profile | None = None
    parameters: str = ""

    @property
    def encoding(self) -> str:
        """Its name in a=rtpmap."""
        return self.codec.name


@dataclass(frozen=True, slots=True)
class VideoOffer:
    """The video that is offered. `width` x `height` at `fps` gives the H.264 level."""

    width: int = 1920
    height: int = 1080
    fps: float = 60
    codecs: tuple[Codec, ...] = (Codec.H264, Codec.VP8)
    """In order of preference."""
    profiles: tuple[Profile, ...] = (Profile.CONSTRAINED_BASELINE,)
    """H.264 profiles that the stream can be sent as, in order of preference."""
    ssrc: int = field(default_factory=lambda: _random_ssrc())
    rtx_ssrc: int = field(default_factory=lambda: _random_ssrc())
    fec_ssrc: int = field(default_factory=lambda: _random_ssrc())
    flexfec: bool = True
    """Offer FlexFEC (draft-ietf-payload-flexible-fec-scheme-03, as libwebrtc has it)."""
    cname: str = field(default_factory=lambda: secrets.token_hex(8))
    stream_id: str = "playcast-video"
    """The MediaStream's id. A medium of its own for each: browsers synchronise within one."""

    @property
    def formats(self) -> tuple[Format, ...]:
        """What is offered, with payload types given out in order."""
        level = level_for(self.width, self.height, self.fps)
        wanted: list[tuple[Codec, Profile | None, str]] = []
        for codec in self.codecs:
            if codec is not Codec.H264:
                wanted.append((codec, None, ""))
                continue
            for profile in self.profiles:
                level_id = profile_level_id(profile, level)
                parameters = (
                    f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={level_id}"
                )
                wanted.append((codec, profile, parameters))
        return tuple(
            Format(codec, first, first + 1, profile, parameters)
            for first, (codec, profile, parameters) in zip(
                itertools.count(_FIRST_PAYLOAD_TYPE, 2), wanted[:_MAX_FORMATS], strict=False
            )
        )

    @property
    def fec_payload_type(self) -> int:
        """FlexFEC's, behind those of the formats, for whichever is sent; 0 = not offered."""
        return _FIRST_PAYLOAD_TYPE + 2 * len(self.formats) if self.flexfec else 0


@dataclass(frozen=True, slots=True)
class Offer:
    """What a host offers one viewer."""

    transport: Transport
    video: VideoOffer
    data_channel: bool = True
    session_id: int = field(default_factory=lambda: secrets.randbits(62))

    def to_sdp(self) -> str:
        """The session description, ready to be sent."""
        lines = [
            "v=0",
            f"o=- {self.session_id} 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {' '.join(self.mids)}",
            "a=extmap-allow-mixed",
            f"a=msid-semantic: WMS {self.video.stream_id}",
            *_video_section(self.video, self.transport),
        ]
        if self.data_channel:
            lines += _data_section(self.transport)
        return "".join(line + "\r\n" for line in lines)

    @property
    def mids(self) -> tuple[str, ...]:
        """The sections' identifications, in order."""
        return (VIDEO_MID, DATA_MID) if self.data_channel else (VIDEO_MID,)


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """How the viewer wants its video. Extension ids: 0 = not accepted."""

    codec: Codec
    payload_type: int
    rtx_payload_type: int
    """0 = no retransmission."""
    fec_payload_type: int
    """FlexFEC-03; 0 = none."""
    profile: Profile | None
    """H.264 profile that the viewer decodes."""
    mid: str
    extensions: dict[str, int]
    """Ids by the names of `EXTENSION_URIS`; only those that were accepted."""
    feedback: frozenset[str]
    """RTCP feedback that was accepted, as "nack pli"."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A viewer's answer, checked."""

    transport: Transport
    """`setup` is never "actpass" here."""
    video: VideoAnswer | None
    """None: the viewer takes no video, or none of the offered formats."""
    data_channel: bool
    sctp_port: int = SCTP_PORT
    max_message_size: int = 65536
    """Bytes that the viewer takes in one data channel message; 0 = any number."""


def read_answer(text: str, offer: Offer) -> Answer:
    """Read the answer to an offer. SdpError says which line cannot be used, and why."""
    session, media = read_sections(text)
    kinds = ["video", "application"][: len(offer.mids)]
    if [section.kind for section in media] != kinds:
        raise SdpError(f"the answer's sections are not those of the offer: {', '.join(kinds)}")
    for section, mid in zip(media, offer.mids, strict=True):
        line = section.first("mid")
        if section.port and (line is None or line.value != mid):
            raise SdpError(f"the section takes a=mid:{mid}", line or section.media)
    accepted = [section for section in media if section.port]
    if not accepted:
        raise SdpError("the answer rejects every section of the offer")
    _check_bundle(session, accepted)
    video = _read_video(media[0], offer.video) if media[0].port else None
    answer = Answer(
        transport=_read_transport(session, accepted[0]),
        video=video,
        data_channel=False,
    )
    if len(media) == 1 or not media[1].port:
        return answer
    return _with_data_channel(answer, media[1])


def _random_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFF) + 1


# The offer's sections ---------------------------------------------------------------------------


def _transport_lines(transport: Transport) -> Iterator[str]:
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


def _video_section(video: VideoOffer, transport: Transport) -> Iterator[str]:
    formats = video.formats
    numbers = [str(n) for f in formats for n in (f.payload_type, f.rtx_payload_type)]
    ssrcs = [video.ssrc, video.rtx_ssrc]
    if video.flexfec:
        numbers.append(str(video.fec_payload_type))
        ssrcs.append(video.fec_ssrc)
    yield f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(numbers)}"
    yield from _transport_lines(transport)
    yield f"a=mid:{VIDEO_MID}"
    yield "a=sendonly"
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield "a=rtcp-mux"
    yield "a=rtcp-rsize"
    for number, uri in enumerate(EXTENSION_URIS.values(), start=1):
        yield f"a=extmap:{number} {uri}"
    yield f"a=msid:{video.stream_id} {video.stream_id}-track"
    for format_ in formats:
        yield from _format_lines(format_)
    if video.flexfec:
        yield from _flexfec_lines(video.fec_payload_type)
    yield f"a=ssrc-group:FID {video.ssrc} {video.rtx_ssrc}"
    if video.flexfec:
        yield f"a=ssrc-group:FEC-FR {video.ssrc} {video.fec_ssrc}"
    for ssrc in ssrcs:
        yield f"a=ssrc:{ssrc} cname:{video.cname}"
        yield f"a=ssrc:{ssrc} msid:{video.stream_id} {video.stream_id}-track"


def _format_lines(format_: Format) -> Iterator[str]:
    number = format_.payload_type
    yield f"a=rtpmap:{number} {format_.encoding}/90000"
    for feedback in _VIDEO_FEEDBACK:
        yield f"a=rtcp-fb:{number} {feedback}"
    if format_.parameters:
        yield f"a=fmtp:{number} {format_.parameters}"
    yield f"a=rtpmap:{format_.rtx_payload_type} rtx/90000"
    yield f"a=fmtp:{format_.rtx_payload_type} apt={number}"


def _flexfec_lines(number: int) -> Iterator[str]:
    yield f"a=rtpmap:{number} {_FLEXFEC}"
    for feedback in _FLEXFEC_FEEDBACK:
        yield f"a=rtcp-fb:{number} {feedback}"
    yield f"a=fmtp:{number} repair-window={_REPAIR_WINDOW_US}"


def _data_section(transport: Transport) -> Iterator[str]:
    yield "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    yield from _transport_lines(transport)
    yield f"a=mid:{DATA_MID}"
    yield f"a=sctp-port:{SCTP_PORT}"
    yield f"a=max-message-size:{MAX_MESSAGE_SIZE}"


# The answer's sections --------------------------------------------------------------------------


def _check_bundle(session: Section, accepted: list[Section]) -> None:
    """RFC 9143 section 7.3.3: what was accepted shares the first section's transport."""
    if len(accepted) < 2:
        return
    groups = [line.value.split() for line in session.all("group")]
    bundled = next((group[1:] for group in groups if group[:1] == ["BUNDLE"]), [])
    for section in accepted:
        line = section.first("mid")
        if line is not None and line.value not in bundled:
            raise SdpError("the section is not part of a=group:BUNDLE", line)


def _read_transport(session: Section, section: Section) -> Transport:
    ufrag = _required(session, section, "ice-ufrag")
    password = _required(session, section, "ice-pwd")
    for line, low in ((ufrag, 4), (password, 22)):
        if not low <= len(line.value) <= 256 or not _ICE_CHARACTERS.fullmatch(line.value):
            raise SdpError(f"takes {low} to 256 letters, digits, + and /", line)
    setup = _required(session, section, "setup")
    if setup.value == "active":
        role: DtlsSetup = "active"
    elif setup.value == "passive":
        role = "passive"
    else:
        raise SdpError("an answer takes active or passive", setup)
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


def _read_video(section: Section, offer: VideoOffer) -> VideoAnswer | None:
    if not (section.has("recvonly") or section.has("sendrecv")):
        return None
    if not section.has("rtcp-mux"):
        raise SdpError("the section has no a=rtcp-mux", section.media)
    names = dict(_read_rtpmaps(section))
    parameters = dict(_read_parameters(section))
    for text in section.formats:
        if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= 127):
            raise SdpError("a payload type is not in 0..127", section.media)
        number = int(text)
        chosen = _match(names.get(number, ""), parameters.get(number, {}), offer)
        if chosen is None:
            continue
        codec, profile = chosen
        return VideoAnswer(
            codec=codec,
            payload_type=number,
            rtx_payload_type=_rtx_for(number, names, parameters, section.formats),
            fec_payload_type=_fec_of(names, section.formats) if offer.flexfec else 0,
            profile=profile,
            mid=VIDEO_MID,
            extensions=_read_extensions(section),
            feedback=_read_feedback(section, text),
        )
    return None


def _match(
    encoding: str, parameters: dict[str, str], offer: VideoOffer
) -> tuple[Codec, Profile | None] | None:
    """Which of the offered formats an answered one is."""
    if encoding == "VP8/90000" and Codec.VP8 in offer.codecs:
        return Codec.VP8, None
    if encoding != "H264/90000" or Codec.H264 not in offer.codecs:
        return None
    # RFC 6184 section 8.1: without a profile-level-id it is baseline 1.0, without
    # packetization-mode it is 0, which has no FU-A.
    profile = profile_of(parameters.get("profile-level-id", "42000a"))
    if profile not in offer.profiles or parameters.get("packetization-mode", "0") != "1":
        return None
    return Codec.H264, profile


def _rtx_for(
    number: int,
    names: dict[int, str],
    parameters: dict[int, dict[str, str]],
    formats: tuple[str, ...],
) -> int:
    for candidate, name in names.items():
        if (
            name == "RTX/90000"
            and parameters.get(candidate, {}).get("apt") == str(number)
            and str(candidate) in formats
        ):
            return candidate
    return 0


def _fec_of(names: dict[int, str], formats: tuple[str, ...]) -> int:
    accepted = (n for n, name in names.items() if name == _FLEXFEC.upper() and str(n) in formats)
    return next(accepted, 0)


def _read_rtpmaps(section: Section) -> Iterator[tuple[int, str]]:
    for line in section.all("rtpmap"):
        number, name = line.fields(2)
        yield line.integer(number, 0, 127), name.upper()


def _read_parameters(section: Section) -> Iterator[tuple[int, dict[str, str]]]:
    for line in section.all("fmtp"):
        number, text = line.fields(2)
        pairs = (item.strip().partition("=") for item in text.split(";"))
        yield line.integer(number, 0, 127), {name.lower(): value for name, _, value in pairs}


def _read_extensions(section: Section) -> dict[str, int]:
    names = {uri: name for name, uri in EXTENSION_URIS.items()}
    found: dict[str, int] = {}
    for line in section.all("extmap"):
        number, uri = line.fields(2)
        # One-byte headers hold 1..14 (RFC 8285 section 4.2), and the answer keeps our ids.
        identifier = line.integer(number.partition("/")[0], 1, 14)
        if identifier in found.values():
            raise SdpError(f"the id {identifier} is taken twice", line)
        if name := names.get(uri.partition(" ")[0]):
            found[name] = identifier
    return found


def _read_feedback(section: Section, number: str) -> frozenset[str]:
    lines = (line.fields(2) for line in section.all("rtcp-fb"))
    return frozenset(value for target, value in lines if target in (number, "*"))


def _with_data_channel(answer: Answer, section: Section) -> Answer:
    if section.formats != ("webrtc-datachannel",):
        raise SdpError("the section takes webrtc-datachannel", section.media)
    port, size = section.first("sctp-port"), section.first("max-message-size")
    return Answer(
        transport=answer.transport,
        video=answer.video,
        data_channel=True,
        sctp_port=SCTP_PORT if port is None else port.integer(port.value, 1, 65535),
        max_message_size=65536 if size is None else size.integer(size.value, 0, 2**32 - 1),
    )
