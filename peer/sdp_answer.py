"""The offer that a receiver gets, and its answer (RFC 8829, RFC 3264).

::

    offer = read_offer(text, Wanted(codecs=(Codec.H264,)))    # SdpError: why it cannot be used
    offer.video.codec, offer.video.payload_type, offer.transport.ufrag, …
    reply = write_answer(offer, transport)

Offers of any stack are taken as they come: sections in any order and of any kind, bundled or
alone. One video section that sends a codec of ours is taken, in one format, and with it the data
section of the same bundle. Further audio and video of that bundle stays, inactive: the bundle's
transport may be theirs (RFC 9143 section 7.3.3), and aiortc knows no rejection. Everything else is
rejected (port 0).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from native import Codec
from peer.h264 import profile_of
from peer.sdp_lines import SdpError, Section, read_sections
from peer.sdp_parts import (
    EXTENSION_URIS,
    Channels,
    DtlsSetup,
    Formats,
    Transport,
    channel_lines,
    flexfec_lines,
    read_channels,
    read_transport,
    transport_lines,
)

__all__ = ["ReceivedOffer", "ReceivedVideo", "Wanted", "read_offer", "write_answer"]

_FEEDBACK = ("transport-cc", "nack", "nack pli")
"""What we give, in the order of the answer."""

_EXTENSIONS = ("mid", "abs-send-time", "transport-cc", "dependency-descriptor")
"""What we read."""

_LEVEL_IDC = "34"
"""Level 5.2 in hexadecimal: up to 4096 x 2160 at 60 fps. Software decodes what its processor can;
this is for senders that ask."""

_MAX_EXTENSION_ID = 14  # of the one-byte form (RFC 8285 section 4.2)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a receiver takes of an offer, where it is there."""

    codecs: tuple[Codec, ...] = (Codec.H264, Codec.VP8)
    """The offer's order decides between them."""
    rtx: bool = True
    """Ask for lost packets again."""
    flexfec: bool = True
    dependency_descriptor: bool = True


@dataclass(frozen=True, slots=True)
class ReceivedVideo:
    """The video that is taken, in the one format that the answer asks for."""

    mid: str
    codec: Codec
    payload_type: int
    rtx_payload_type: int
    """0 = no retransmission."""
    fec_payload_type: int
    """FlexFEC-03; 0 = none."""
    ssrc: int
    """0 = the offer does not say; the same for `rtx_ssrc` and `fec_ssrc`."""
    rtx_ssrc: int
    fec_ssrc: int
    parameters: str
    """Of a=fmtp in the answer; "" = none."""
    extensions: dict[str, int]
    """Ids by the names of `EXTENSION_URIS`; only those that we read."""
    feedback: tuple[str, ...]
    """RTCP feedback that both sides have, as "nack pli"."""


@dataclass(frozen=True, slots=True)
class ReceivedOffer:
    """An offer, checked, and what we take of it."""

    transport: Transport
    """The offerer's."""
    video: ReceivedVideo | None
    """None: it sends no video that we can take."""
    channels: Channels | None
    """None: it has no data channels."""
    sections: tuple[Section, ...]
    """All of it, for the answer."""
    idle: tuple[int, ...]
    """Indices of the sections that stay without being used."""
    accepted: tuple[int, ...]
    """Indices of the sections that are not rejected: those that are used, and the idle ones."""
    bundle: bool
    extmap_allow_mixed: bool
    session_id: int = field(default_factory=lambda: secrets.randbits(62))
    """Of the answer."""


def read_offer(text: str, wanted: Wanted | None = None) -> ReceivedOffer:
    """Read an offer. SdpError says which line cannot be used, and why."""
    session, media = read_sections(text)
    groups = [line.value.split()[1:] for line in session.all("group") if _is_bundle(line.value)]
    offered = [(i, section) for i, section in enumerate(media) if _is_offered(section)]
    video: ReceivedVideo | None = None
    channels: Channels | None = None
    accepted: list[int] = []
    for index, section in offered:
        if video is None and section.kind == "video":
            video = _read_video(section, wanted or Wanted())
            if video is not None:
                accepted.append(index)
    for index, section in offered:
        if channels is None and _has_channels(section):
            if accepted and not _bundled(groups, media[accepted[0]], section):
                continue
            channels = read_channels(section)
            accepted.append(index)
    if not accepted:
        raise SdpError("the offer has no video in a codec of ours, and no data channels")
    first = media[accepted[0]]
    bundle = next((group for group in groups if _mid(first) in group), [])
    idle = [i for i, s in offered if i not in accepted and _mid(s) in bundle and _can_idle(s)]
    accepted = sorted(accepted + idle)
    tagged = _transport_section([media[index] for index in accepted], bundle)
    return ReceivedOffer(
        transport=read_transport(session, tagged, ("actpass", "active", "passive")),
        video=video,
        channels=channels,
        sections=tuple(media),
        idle=tuple(idle),
        accepted=tuple(accepted),
        bundle=bool(bundle),
        extmap_allow_mixed=session.has("extmap-allow-mixed") or tagged.has("extmap-allow-mixed"),
    )


def write_answer(offer: ReceivedOffer, transport: Transport, version: int = 1) -> str:
    """The answer; `transport` is our side, its `setup` not "actpass"."""
    assert transport.setup != "actpass"
    lines = ["v=0", f"o=- {offer.session_id} {version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if offer.bundle:
        mids = (_mid(offer.sections[index]) for index in offer.accepted)
        lines.append(f"a=group:BUNDLE {' '.join(mids)}")
    if offer.extmap_allow_mixed:
        lines.append("a=extmap-allow-mixed")
    for index, section in enumerate(offer.sections):
        if index not in offer.accepted:
            lines += _rejection_lines(section)
        elif index in offer.idle:
            lines += _idle_lines(section, transport)
        elif section.kind == "video":
            assert offer.video is not None
            lines += _video_lines(section, offer.video, transport)
        else:
            lines.append(f"m=application 9 {section.protocol} webrtc-datachannel")
            lines += [*transport_lines(transport), *channel_lines(_mid(section))]
    return "".join(line + "\r\n" for line in lines)


def answering_setup(offered: DtlsSetup, *, prefer: DtlsSetup) -> DtlsSetup:
    """Our DTLS role (RFC 8842 section 5.3): the one that is left, or the preferred one."""
    if offered == "active":
        return "passive"
    return "active" if offered == "passive" else prefer


# The offer's sections ---------------------------------------------------------------------------


def _is_bundle(group: str) -> bool:
    return group.split()[:1] == ["BUNDLE"]


def _is_offered(section: Section) -> bool:
    # RFC 9143 section 6: port 0 and a=bundle-only is not a rejection.
    return section.port > 0 or section.has("bundle-only")


def _has_channels(section: Section) -> bool:
    return section.kind == "application" and section.formats == ("webrtc-datachannel",)


def _mid(section: Section) -> str:
    line = section.first("mid")
    return "" if line is None else line.value


def _bundled(groups: list[list[str]], one: Section, other: Section) -> bool:
    return any(_mid(one) in group and _mid(other) in group for group in groups)


def _can_idle(section: Section) -> bool:
    return section.protocol.endswith("RTP/SAVPF") and section.has("rtcp-mux")


def _transport_section(accepted: list[Section], bundle: list[str]) -> Section:
    """The section with the transport of what is accepted: the first of those in the bundle's order
    (RFC 9143 section 7.2), but for those that are bundle-only and have none."""
    ordered = [section for mid in bundle for section in accepted if _mid(section) == mid]
    return next((section for section in ordered if section.has("ice-ufrag")), accepted[0])


def _read_video(section: Section, wanted: Wanted) -> ReceivedVideo | None:
    """The section as we take it; None when it sends nothing that we can receive."""
    silent = section.has("recvonly") or section.has("inactive")
    if silent or not section.protocol.endswith("RTP/SAVPF") or not section.has("rtcp-mux"):
        return None
    formats = Formats(section)
    for number in formats.order:
        codec = _codec_of(formats.names.get(number, ""), formats.parameters(number))
        if codec is None or codec not in wanted.codecs:
            continue
        feedback = formats.feedback(number)
        rtx = formats.rtx_of(number) if wanted.rtx and "nack" in feedback else 0
        ours = [value for value in _FEEDBACK if value != "nack" or wanted.rtx]
        fec = formats.flexfec if wanted.flexfec else 0
        ssrc, rtx_ssrc, fec_ssrc = _read_ssrcs(section)
        return ReceivedVideo(
            mid=_mid(section),
            codec=codec,
            payload_type=number,
            rtx_payload_type=rtx,
            fec_payload_type=fec,
            ssrc=ssrc,
            rtx_ssrc=rtx_ssrc if rtx else 0,
            fec_ssrc=fec_ssrc if fec else 0,
            parameters=_answered_parameters(codec, formats.parameters(number)),
            extensions=_read_extensions(section, wanted),
            feedback=tuple(value for value in ours if value in feedback),
        )
    return None


def _codec_of(encoding: str, parameters: dict[str, str]) -> Codec | None:
    if encoding == "VP8/90000":
        return Codec.VP8
    # RFC 6184 section 8.1: without a profile-level-id it is baseline 1.0.
    profile = profile_of(parameters.get("profile-level-id", "42000a"))
    return Codec.H264 if encoding == "H264/90000" and profile is not None else None


def _answered_parameters(codec: Codec, offered: dict[str, str]) -> str:
    """RFC 6184 section 8.2.2: the offer's, with a level of our own where levels may differ."""
    if codec is not Codec.H264:
        return ""
    names = ("level-asymmetry-allowed", "packetization-mode", "profile-level-id")
    answered = {name: offered[name] for name in names if name in offered}
    if answered.get("level-asymmetry-allowed") == "1" and "profile-level-id" in answered:
        answered["profile-level-id"] = answered["profile-level-id"][:4] + _LEVEL_IDC
    return ";".join(f"{name}={value}" for name, value in answered.items())


def _read_ssrcs(section: Section) -> tuple[int, int, int]:
    """SSRCs of media, retransmissions and FlexFEC (RFC 5576); 0 = not said."""
    rtx: dict[int, int] = {}
    fec: dict[int, int] = {}
    for line in section.all("ssrc-group"):
        kind, _, members = line.value.partition(" ")
        numbers = [line.integer(text, 0, 2**32 - 1) for text in members.split()]
        if len(numbers) == 2 and kind in ("FID", "FEC-FR"):
            (rtx if kind == "FID" else fec).setdefault(*numbers)
    first = section.first("ssrc")
    if first is None:
        return 0, 0, 0
    listed = first.integer(first.value.partition(" ")[0], 0, 2**32 - 1)
    # Groups name the media first; the lines of a=ssrc may come in any order.
    pairs = (*rtx.items(), *fec.items())
    ssrc = next((media for media, repair in pairs if listed in (media, repair)), listed)
    return ssrc, rtx.get(ssrc, 0), fec.get(ssrc, 0)


def _read_extensions(section: Section, wanted: Wanted) -> dict[str, int]:
    names = {EXTENSION_URIS[name]: name for name in _EXTENSIONS}
    if not wanted.dependency_descriptor:
        del names[EXTENSION_URIS["dependency-descriptor"]]
    found: dict[str, int] = {}
    for line in section.all("extmap"):
        number, uri = line.fields(2)
        number, _, direction = number.partition("/")
        identifier = line.integer(number, 1, 4351)  # beyond 255: RFC 8285 section 7, not for us
        name = names.get(uri.partition(" ")[0])
        if name is None or direction in ("recvonly", "inactive") or name in found:
            continue
        if identifier <= _MAX_EXTENSION_ID:
            if identifier in found.values():
                raise SdpError(f"the id {identifier} is taken twice", line)
            found[name] = identifier
    return found


# The answer's sections --------------------------------------------------------------------------


def _rejection_lines(section: Section) -> Iterator[str]:
    yield f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}"
    yield "c=IN IP4 0.0.0.0"
    if mid := _mid(section):
        yield f"a=mid:{mid}"
    yield "a=inactive"


def _idle_lines(section: Section, transport: Transport) -> Iterator[str]:
    yield f"m={section.kind} 9 {section.protocol} {' '.join(section.formats)}"
    yield from transport_lines(transport)
    yield f"a=mid:{_mid(section)}"
    yield "a=inactive"
    yield "a=rtcp-mux"
    for name in ("rtpmap", "fmtp"):
        yield from (line.text for line in section.all(name))


def _video_lines(section: Section, video: ReceivedVideo, transport: Transport) -> Iterator[str]:
    number, rtx, fec = video.payload_type, video.rtx_payload_type, video.fec_payload_type
    numbers = " ".join(str(n) for n in (number, rtx, fec) if n)
    yield f"m=video 9 {section.protocol} {numbers}"
    yield from transport_lines(transport)
    if video.mid:
        yield f"a=mid:{video.mid}"
    yield "a=recvonly"
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield "a=rtcp-mux"
    if section.has("rtcp-rsize"):
        yield "a=rtcp-rsize"
    for name, identifier in video.extensions.items():
        yield f"a=extmap:{identifier} {EXTENSION_URIS[name]}"
    yield f"a=rtpmap:{number} {video.codec.name}/90000"
    for feedback in video.feedback:
        yield f"a=rtcp-fb:{number} {feedback}"
    if video.parameters:
        yield f"a=fmtp:{number} {video.parameters}"
    if rtx:
        yield f"a=rtpmap:{rtx} rtx/90000"
        yield f"a=fmtp:{rtx} apt={number}"
    if fec:
        yield from flexfec_lines(fec)
