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
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from native import Codec, Profile
from peer.h264 import level_for, profile_level_id, profile_of
from peer.sdp_lines import SdpError, Section, read_sections
from peer.sdp_parts import (
    EXTENSION_URIS,
    Channels,
    DtlsSetup,
    Fingerprint,
    Formats,
    Transport,
    channel_lines,
    flexfec_lines,
    read_channels,
    read_transport,
    transport_lines,
)

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

VIDEO_MID = "0"
DATA_MID = "1"
_VIDEO_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
_FIRST_PAYLOAD_TYPE = 96
_MAX_FORMATS = 15
"""As many as payload types 96..125 hold with their retransmissions; 126 is then FlexFEC's."""


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
    version: int = 1
    """One more with every offer of a session (RFC 8829 section 5.2.2)."""

    def to_sdp(self) -> str:
        """The session description, ready to be sent."""
        lines = [
            "v=0",
            f"o=- {self.session_id} {self.version} IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {' '.join(self.mids)}",
            "a=extmap-allow-mixed",
            f"a=msid-semantic: WMS {self.video.stream_id}",
            *_video_section(self.video, self.transport),
        ]
        if self.data_channel:
            lines.append("m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
            lines += [*transport_lines(self.transport), *channel_lines(DATA_MID)]
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
    channels: Channels | None
    """None: the viewer takes no data channels."""


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
    channels = read_channels(media[1]) if len(media) > 1 and media[1].port else None
    return Answer(
        transport=read_transport(session, accepted[0], ("active", "passive")),
        video=_read_video(media[0], offer.video) if media[0].port else None,
        channels=channels,
    )


def _random_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFF) + 1


# The offer's sections ---------------------------------------------------------------------------


def _video_section(video: VideoOffer, transport: Transport) -> Iterator[str]:
    formats = video.formats
    numbers = [str(n) for f in formats for n in (f.payload_type, f.rtx_payload_type)]
    ssrcs = [video.ssrc, video.rtx_ssrc]
    if video.flexfec:
        numbers.append(str(video.fec_payload_type))
        ssrcs.append(video.fec_ssrc)
    yield f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(numbers)}"
    yield from transport_lines(transport)
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
        yield from flexfec_lines(video.fec_payload_type)
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


def _read_video(section: Section, offer: VideoOffer) -> VideoAnswer | None:
    if not (section.has("recvonly") or section.has("sendrecv")):
        return None
    if not section.has("rtcp-mux"):
        raise SdpError("the section has no a=rtcp-mux", section.media)
    formats = Formats(section)
    for number in formats.order:
        chosen = _match(formats.names.get(number, ""), formats.parameters(number), offer)
        if chosen is None:
            continue
        codec, profile = chosen
        return VideoAnswer(
            codec=codec,
            payload_type=number,
            rtx_payload_type=formats.rtx_of(number),
            fec_payload_type=formats.flexfec if offer.flexfec else 0,
            profile=profile,
            mid=VIDEO_MID,
            extensions=_read_extensions(section),
            feedback=formats.feedback(number),
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
