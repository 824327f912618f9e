"""Offers that others understand, answers that are read or refused with a reason."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from aiortc.sdp import SessionDescription

from native import Codec, Profile
from peer.h264 import level_for, profile_level_id, profile_of
from peer.sdp import (
    EXTENSION_URIS,
    Answer,
    Fingerprint,
    Offer,
    SdpError,
    Transport,
    VideoOffer,
    read_answer,
)
from peer.sdp_parts import Channels

HASH = ":".join(["0A"] * 32)
OFFER = Offer(
    Transport(
        ufrag="hostufrag",
        password="hostpasswordhostpassword",
        fingerprints=(Fingerprint("sha-256", HASH),),
        candidates=("1 1 udp 2130706431 127.0.0.1 5000 typ host",),
        complete=True,
    ),
    VideoOffer(
        width=1280,
        height=720,
        fps=60,
        profiles=(Profile.CONSTRAINED_BASELINE, Profile.HIGH),
        ssrc=1111,
        rtx_ssrc=2222,
        fec_ssrc=3333,
        cname="cname",
    ),
)

# What Chromium answers (its attributes in its order).
CHROMIUM = """v=0
o=- 3767195846178414361 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS
m=video 49203 UDP/TLS/RTP/SAVPF 96 97 100 101 102
c=IN IP4 127.0.0.1
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1745053036 1 udp 2122260223 127.0.0.1 49203 typ host generation 0 network-id 1
a=candidate:2796312112 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active generation 0
a=ice-ufrag:pZ+9
a=ice-pwd:wV8Gy3o7DkmDWBwbm/ZgX1Yh
a=ice-options:trickle
a=fingerprint:sha-256 {hash}
a=setup:active
a=mid:0
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:5 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 H264/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 transport-cc
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:100 VP8/90000
a=rtpmap:101 rtx/90000
a=fmtp:101 apt=100
a=rtpmap:102 flexfec-03/90000
a=rtcp-fb:102 goog-remb
a=rtcp-fb:102 transport-cc
a=fmtp:102 repair-window=10000000
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
b=AS:30
a=ice-ufrag:pZ+9
a=ice-pwd:wV8Gy3o7DkmDWBwbm/ZgX1Yh
a=ice-options:trickle
a=fingerprint:sha-256 {hash}
a=setup:active
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
""".replace("{hash}", HASH)


def without(text: str, *starts: str) -> str:
    return "".join(x for x in text.splitlines(keepends=True) if not x.startswith(starts))


# ---- The offer ---------------------------------------------------------------------------------


def test_offer_says_what_it_was_given() -> None:
    text = OFFER.to_sdp()
    assert all(line.endswith("\r\n") for line in text.splitlines(keepends=True))
    description = SessionDescription.parse(text)
    video, data = description.media
    assert [str(group) for group in description.group] == ["BUNDLE 0 1"]
    assert (video.kind, video.direction, video.rtp.muxId, video.rtcp_mux) == (
        "video",
        "sendonly",
        "0",
        True,
    )
    assert [(c.name, c.payloadType) for c in video.rtp.codecs] == [
        ("H264", 96),
        ("rtx", 97),
        ("H264", 98),
        ("rtx", 99),
        ("VP8", 100),
        ("rtx", 101),
        ("flexfec-03", 102),
    ]
    h264, rtx, high = video.rtp.codecs[:3]
    assert h264.parameters == {
        "level-asymmetry-allowed": "1",
        "packetization-mode": "1",
        "profile-level-id": "42e020",
    }
    assert high.parameters["profile-level-id"] == "640020"
    assert rtx.parameters == {"apt": 96}
    assert {f"{f.type} {f.parameter or ''}".strip() for f in h264.rtcpFeedback} == {
        "nack",
        "nack pli",
        "ccm fir",
        "goog-remb",
        "transport-cc",
    }
    assert {e.uri: e.id for e in video.rtp.headerExtensions} == {
        uri: number for number, uri in enumerate(EXTENSION_URIS.values(), start=1)
    }
    fec = video.rtp.codecs[-1]
    assert (fec.clockRate, fec.parameters) == (90000, {"repair-window": "10000000"})
    assert [str(group) for group in video.ssrc_group] == ["FID 1111 2222", "FEC-FR 1111 3333"]
    assert {s.ssrc: s.cname for s in video.ssrc} == dict.fromkeys((1111, 2222, 3333), "cname")
    assert video.msid == "playcast-video playcast-video-track"
    for media in (video, data):
        assert media.ice.usernameFragment == "hostufrag"
        assert media.dtls is not None
        assert media.dtls.role == "auto"
        assert [c.port for c in media.ice_candidates] == [5000]
        assert media.ice_candidates_complete
    assert (data.kind, data.sctp_port, data.profile) == ("application", 5000, "UDP/DTLS/SCTP")
    assert "a=extmap-allow-mixed\r\n" in text
    assert "a=rtcp-rsize\r\n" in text


def test_offer_without_data_channel_has_one_section() -> None:
    offer = Offer(OFFER.transport, OFFER.video, data_channel=False)
    assert [m.kind for m in SessionDescription.parse(offer.to_sdp()).media] == ["video"]


def test_two_offers_have_ssrcs_of_their_own() -> None:
    ssrcs = {
        ssrc for _ in range(50) for video in [VideoOffer()] for ssrc in (video.ssrc, video.rtx_ssrc)
    }
    assert len(ssrcs) == 100
    assert all(0 < ssrc < 2**32 for ssrc in ssrcs)


@pytest.mark.parametrize(
    ("width", "height", "fps", "level"),
    [
        (640, 360, 30, 31),
        (1280, 720, 30, 31),
        (1280, 720, 60, 32),
        (1920, 1080, 30, 40),
        (1920, 1080, 60, 42),
        (2560, 1440, 60, 51),
        (3840, 2160, 60, 52),
        (7680, 4320, 120, 52),
    ],
)
def test_level_is_the_lowest_that_holds(width: int, height: int, fps: int, level: int) -> None:
    assert level_for(width, height, fps) == level


def test_profiles_survive_their_names() -> None:
    for profile in Profile:
        assert profile_of(profile_level_id(profile, 42)) is profile
    for text in ("", "42e0", "42e01f00", "zzzzzz", "f4001f", "42e0ff"):
        assert profile_of(text) is None


# ---- The answer --------------------------------------------------------------------------------


def test_chromium_answer() -> None:
    answer = read_answer(CHROMIUM.replace("\n", "\r\n"), OFFER)
    transport, video = answer.transport, answer.video
    assert (transport.ufrag, transport.password) == ("pZ+9", "wV8Gy3o7DkmDWBwbm/ZgX1Yh")
    assert (transport.setup, transport.ice_lite, transport.complete) == ("active", False, False)
    assert transport.fingerprints == (Fingerprint("sha-256", HASH),)
    assert len(transport.candidates) == 2
    assert video is not None
    assert (video.codec, video.payload_type, video.rtx_payload_type) == (Codec.H264, 96, 97)
    assert video.fec_payload_type == 102
    assert video.profile is Profile.CONSTRAINED_BASELINE
    assert video.extensions == {
        "mid": 1,
        "abs-send-time": 2,
        "transport-cc": 3,
        "playout-delay": 4,
        "dependency-descriptor": 5,
    }
    assert video.feedback == {"nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"}
    assert answer.channels == Channels(sctp_port=5000, max_message_size=262144)


def test_the_answers_order_decides() -> None:
    answer = read_answer(CHROMIUM.replace("SAVPF 96 97 100 101", "SAVPF 100 101 96 97"), OFFER)
    assert answer.video is not None
    assert (answer.video.codec, answer.video.payload_type) == (Codec.VP8, 100)
    assert answer.video.rtx_payload_type == 101


@pytest.mark.parametrize(
    "h264",
    [
        "packetization-mode=0;profile-level-id=42e01f",
        "packetization-mode=1;profile-level-id=4d001f",
    ],
)
def test_h264_that_cannot_be_sent_is_passed_over(h264: str) -> None:
    text = CHROMIUM.replace("packetization-mode=1;profile-level-id=42e01f", h264)
    answer = read_answer(text, OFFER)
    assert answer.video is not None
    assert answer.video.codec is Codec.VP8


def test_without_rtx_there_is_none() -> None:
    answer = read_answer(CHROMIUM.replace("SAVPF 96 97 100 101", "SAVPF 96 100"), OFFER)
    assert answer.video is not None
    assert answer.video.rtx_payload_type == 0


def test_flexfec_is_sent_where_both_sides_have_it() -> None:
    refused = read_answer(CHROMIUM.replace(" 101 102", " 101"), OFFER)
    assert refused.video is not None
    assert refused.video.fec_payload_type == 0
    without_it = Offer(OFFER.transport, replace(OFFER.video, flexfec=False))
    assert not {"flexfec", "FEC-FR", "3333"} & set(re.split(r"[ :\-]", without_it.to_sdp()))
    unasked = read_answer(CHROMIUM, without_it)
    assert unasked.video is not None
    assert unasked.video.fec_payload_type == 0


def test_payload_types_never_run_out() -> None:
    offer = VideoOffer(codecs=(Codec.VP8,) * 20)
    assert [f.payload_type for f in offer.formats] == list(range(96, 126, 2))
    assert offer.fec_payload_type == 126


@pytest.mark.parametrize(
    "text",
    [
        CHROMIUM.replace("m=video 49203", "m=video 0"),
        CHROMIUM.replace("a=recvonly", "a=inactive"),
        CHROMIUM.replace("H264/90000", "AV1/90000").replace("VP8/90000", "VP9/90000"),
    ],
)
def test_no_video_is_an_answer_too(text: str) -> None:
    answer = read_answer(text, OFFER)
    assert answer.video is None
    assert answer.channels is not None


def test_data_channel_may_be_rejected() -> None:
    answer = read_answer(CHROMIUM.replace("m=application 9", "m=application 0"), OFFER)
    assert answer.video is not None
    assert answer.channels is None


BAD = [
    ("", "does not begin"),
    ("hello", "does not begin"),
    ("v=0\n" * 3000, "more than 2000 lines"),
    ("v=0\n" + "a=" + "x" * 70000, "longer than 65536 characters"),
    ("v=0\nnonsense\n", r'line 2 .*: is not of the form "x=value"'),
    ("v=0\n", "sections are not those of the offer"),
    (CHROMIUM.split("m=application")[0], "sections are not those of the offer"),
    (CHROMIUM.replace("a=mid:0", "a=mid:9"), 'line 18 "a=mid:9": the section takes a=mid:0'),
    (without(CHROMIUM, "a=mid:1"), "takes a=mid:1"),
    (without(CHROMIUM, "a=group"), "not part of a=group:BUNDLE"),
    (without(CHROMIUM, "a=ice-ufrag"), "has no a=ice-ufrag"),
    (without(CHROMIUM, "a=ice-pwd"), "has no a=ice-pwd"),
    (without(CHROMIUM, "a=setup"), "has no a=setup"),
    (without(CHROMIUM, "a=fingerprint"), "no a=fingerprint of sha-256"),
    (without(CHROMIUM, "a=rtcp-mux"), "has no a=rtcp-mux"),
    (CHROMIUM.replace("setup:active", "setup:actpass"), "takes active or passive"),
    (CHROMIUM.replace("ufrag:pZ+9", "ufrag:p"), "takes 4 to 256"),
    (CHROMIUM.replace("pwd:wV8G", "pwd:w G"), "takes 22 to 256"),
    (CHROMIUM.replace("sha-256 0A:", "sha-256 "), "takes 32 bytes in hexadecimal"),
    (CHROMIUM.replace("sha-256 ", "md5 "), "no a=fingerprint of sha-256"),
    (CHROMIUM.replace("m=video 49203", "m=video 99999"), "99999 is not in 0..65535"),
    (CHROMIUM.replace("m=video 49203 UDP", "m=video UDP"), "m=kind port protocol formats"),
    (CHROMIUM.replace("SAVPF 96", "SAVPF 196"), "payload type is not in 0..127"),
    (CHROMIUM.replace("SAVPF 96", "SAVPF x"), "payload type is not in 0..127"),
    (CHROMIUM.replace("rtpmap:96", "rtpmap:abc"), "abc is not a number"),
    (CHROMIUM.replace("rtpmap:96 H264/90000", "rtpmap:96"), "takes 2 fields"),
    (CHROMIUM.replace("extmap:2", "extmap:15"), "15 is not in 1..14"),
    (CHROMIUM.replace("extmap:2", "extmap:1"), "the id 1 is taken twice"),
    (CHROMIUM.replace("sctp-port:5000", "sctp-port:0"), "0 is not in 1..65535"),
    (CHROMIUM.replace("size:262144", "size:-1"), "-1 is not a number"),
    (CHROMIUM.replace(" webrtc-datachannel", " 5000"), "takes webrtc-datachannel"),
    (
        CHROMIUM.replace("m=video 49203", "m=video 0").replace(
            "m=application 9", "m=application 0"
        ),
        "rejects every section",
    ),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_bad_answers_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        read_answer(text, OFFER)


def test_error_texts_are_printable_and_short() -> None:
    with pytest.raises(SdpError) as caught:
        read_answer("v=0\n\x1b[31m" + "x" * 60000, OFFER)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def check(answer: Answer) -> None:
    """What every answer that is accepted must hold."""
    transport = answer.transport
    assert transport.setup in ("active", "passive")
    assert 4 <= len(transport.ufrag) <= 256
    assert 22 <= len(transport.password) <= 256
    assert transport.fingerprints
    assert len(transport.candidates) <= 64
    if answer.channels is not None:
        assert 1 <= answer.channels.sctp_port <= 65535
    if answer.video is not None:
        assert 0 <= answer.video.payload_type <= 127
        assert 0 <= answer.video.rtx_payload_type <= 127
        assert 0 <= answer.video.fec_payload_type <= 127
        assert (answer.video.profile is not None) == (answer.video.codec is Codec.H264)
        ids = list(answer.video.extensions.values())
        assert len(set(ids)) == len(ids)
        assert all(1 <= number <= 14 for number in ids)


def test_mutated_answers_are_read_or_refused() -> None:
    rng = random.Random(20240607)
    lines = CHROMIUM.splitlines()
    alphabet = "0123456789 :/=;,.-+abcdefxyzAZ\r\n\t\0é\u2028٣"
    accepted = 0
    for _ in range(3000):
        mutated = list(lines)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(mutated))
            match rng.randrange(5):
                case 0:
                    del mutated[at]
                case 1:
                    mutated.insert(at, mutated[rng.randrange(len(mutated))])
                case 2:
                    cut = rng.randrange(len(mutated[at]) + 1)
                    mutated[at] = mutated[at][:cut]
                case 3:
                    cut = rng.randrange(len(mutated[at]) + 1)
                    piece = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 5)))
                    mutated[at] = mutated[at][:cut] + piece + mutated[at][cut + 1 :]
                case 4:
                    other = rng.randrange(len(mutated))
                    mutated[at], mutated[other] = mutated[other], mutated[at]
        try:
            answer = read_answer("\n".join(mutated) + "\n", OFFER)
        except SdpError:
            continue
        accepted += 1
        check(answer)
    assert 300 < accepted < 2700, "the fuzz no longer tries both sides"
