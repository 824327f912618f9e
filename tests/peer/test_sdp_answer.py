"""Offers of every stack are read, and answered in a way that the other side understands."""

from __future__ import annotations

import random

import pytest
from aiortc.sdp import SessionDescription

from native import Codec, Profile
from peer.sdp import Offer, VideoOffer, read_answer
from peer.sdp_answer import ReceivedOffer, Wanted, answering_setup, read_offer, write_answer
from peer.sdp_lines import SdpError
from peer.sdp_parts import EXTENSION_URIS, Channels, Fingerprint, Transport

HASH = ":".join(["0A"] * 32)
HOST = Transport("hostufrag", "hostpasswordhostpassword", (Fingerprint("sha-256", HASH),))
OURS = Transport(
    "viewerufrag",
    "viewerpasswordviewerpassword",
    (Fingerprint("sha-256", HASH),),
    setup="active",
    candidates=("1 1 udp 2130706431 127.0.0.1 5000 typ host",),
    complete=True,
)
OFFER = Offer(
    HOST,
    VideoOffer(
        profiles=(Profile.HIGH, Profile.CONSTRAINED_BASELINE),
        ssrc=1111,
        rtx_ssrc=2222,
        fec_ssrc=3333,
    ),
)

# Three sections in one bundle, as Chromium offers them (its attributes in its order, fewer codecs).
CHROMIUM = """v=0
o=- 65889867238735205 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 58214 UDP/TLS/RTP/SAVPF 111 63
c=IN IP4 192.0.2.2
a=candidate:4079297154 1 udp 2113937151 192.0.2.2 58214 typ host generation 0
a=ice-ufrag:4k1D
a=ice-pwd:JV8UAG3VKEnO8OMfO3OUGwb+
a=ice-options:trickle
a=fingerprint:sha-256 {hash}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtpmap:63 red/48000/2
m=video 51996 UDP/TLS/RTP/SAVPF 45 46 108 109 96 97 118 120
c=IN IP4 192.0.2.2
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:4079297154 1 udp 2113937151 192.0.2.2 51996 typ host generation 0
a=ice-ufrag:4k1D
a=ice-pwd:JV8UAG3VKEnO8OMfO3OUGwb+
a=ice-options:trickle
a=fingerprint:sha-256 {hash}
a=setup:actpass
a=mid:1
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:5/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtcp-xr:rcvr-rtt=all
a=rtpmap:45 AV1/90000
a=rtpmap:46 rtx/90000
a=fmtp:46 apt=45
a=rtpmap:108 H264/90000
a=rtcp-fb:108 goog-remb
a=rtcp-fb:108 transport-cc
a=rtcp-fb:108 ccm fir
a=rtcp-fb:108 nack
a=rtcp-fb:108 nack pli
a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:109 rtx/90000
a=fmtp:109 apt=108
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:118 red/90000
a=rtpmap:120 ulpfec/90000
a=ssrc-group:FID 374117226 1396388372
a=ssrc:374117226 cname:SuUiM6LJNSEfJqqJ
a=ssrc:1396388372 cname:SuUiM6LJNSEfJqqJ
m=application 48890 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 192.0.2.2
a=ice-ufrag:4k1D
a=ice-pwd:JV8UAG3VKEnO8OMfO3OUGwb+
a=fingerprint:sha-256 {hash}
a=setup:actpass
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
""".replace("{hash}", HASH)

# As GStreamer's webrtcbin offers with max-bundle: one transport, the other sections bundle-only.
GSTREAMER = """v=0
o=- 5108475 0 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-options:trickle
a=group:BUNDLE audio0 video1 application2
m=audio 9 UDP/TLS/RTP/SAVPF 97
c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:PoZY2QyBt6
a=ice-pwd:M6x0SFJ3vqS8AWN2NqDZwN
a=rtcp-mux
a=rtcp-rsize
a=sendrecv
a=rtpmap:97 OPUS/48000/2
a=ssrc:1 cname:user
a=mid:audio0
a=fingerprint:sha-256 {hash}
m=video 0 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=bundle-only
a=rtcp-mux
a=rtcp-rsize
a=sendonly
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack pli
a=fmtp:96 packetization-mode=1;profile-level-id=42e01e
a=ssrc:2704 msid:user webrtctransceiver1
a=ssrc:2704 cname:user
a=mid:video1
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=bundle-only
a=mid:application2
a=sctp-port:5000
""".replace("{hash}", HASH)

# Nothing but one video section, without mid and bundle, everything at session level.
PLAIN = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-lite
a=ice-ufrag:plainufrag
a=ice-pwd:plainpasswordplainpassword
a=fingerprint:SHA-256 {hash}
a=setup:passive
m=video 4000 RTP/SAVPF 100
a=rtcp-mux
a=rtpmap:100 VP8/90000
""".replace("{hash}", HASH)


def answer_to(offer: ReceivedOffer) -> SessionDescription:
    text = write_answer(offer, OURS)
    assert all(line.endswith("\r\n") for line in text.splitlines(keepends=True))
    return SessionDescription.parse(text)


def ports(description: SessionDescription) -> list[int]:
    return [section.port for section in description.media]


# ---- Ours --------------------------------------------------------------------------------------


def test_our_offer_is_taken_whole_and_our_answer_understood() -> None:
    offer = read_offer(OFFER.to_sdp())
    assert offer.transport == HOST
    assert offer.channels == Channels(5000, 262144)
    assert offer.video is not None
    assert (offer.video.codec, offer.video.mid, offer.video.payload_type) == (Codec.H264, "0", 96)
    assert (offer.video.rtx_payload_type, offer.video.fec_payload_type) == (97, 102)
    assert (offer.video.ssrc, offer.video.rtx_ssrc, offer.video.fec_ssrc) == (1111, 2222, 3333)

    answer = read_answer(write_answer(offer, OURS), OFFER)
    assert answer.transport == OURS
    assert answer.channels == Channels(5000, 262144)
    assert answer.video is not None
    assert (answer.video.codec, answer.video.profile) == (Codec.H264, Profile.HIGH)
    assert (answer.video.payload_type, answer.video.rtx_payload_type) == (96, 97)
    assert answer.video.fec_payload_type == 102
    assert answer.video.feedback == {"transport-cc", "nack", "nack pli"}
    ids = {name: number for number, name in enumerate(EXTENSION_URIS, start=1)}
    del ids["playout-delay"]  # we show pictures at once anyhow
    assert answer.video.extensions == ids


def test_what_is_not_wanted_is_not_accepted() -> None:
    wanted = Wanted((Codec.VP8,), rtx=False, flexfec=False, dependency_descriptor=False)
    answer = read_answer(write_answer(read_offer(OFFER.to_sdp(), wanted), OURS), OFFER)
    assert answer.video is not None
    assert (answer.video.codec, answer.video.payload_type) == (Codec.VP8, 100)
    assert (answer.video.rtx_payload_type, answer.video.fec_payload_type) == (0, 0)
    assert answer.video.feedback == {"transport-cc", "nack pli"}
    assert "dependency-descriptor" not in answer.video.extensions


# ---- Those of others ---------------------------------------------------------------------------


def test_chromiums_video_and_channels_are_taken_and_its_audio_idles() -> None:
    offer = read_offer(CHROMIUM.replace("\n", "\r\n"))
    assert (offer.transport.ufrag, offer.transport.setup) == ("4k1D", "actpass")
    assert offer.transport.candidates == (
        "4079297154 1 udp 2113937151 192.0.2.2 58214 typ host generation 0",
    )
    video = offer.video
    assert video is not None
    assert (video.codec, video.mid, video.payload_type) == (Codec.H264, "1", 108)
    assert (video.rtx_payload_type, video.fec_payload_type) == (109, 0)
    assert (video.ssrc, video.rtx_ssrc, video.fec_ssrc) == (374117226, 1396388372, 0)
    assert video.extensions == {"abs-send-time": 2, "transport-cc": 3, "mid": 4}

    answer = answer_to(offer)
    assert ports(answer) == [9, 9, 9]
    assert [str(group) for group in answer.group] == ["BUNDLE 0 1 2"]
    audio, picture, data = answer.media
    assert (audio.kind, audio.rtp.muxId, audio.direction) == ("audio", "0", "inactive")
    assert [c.name for c in audio.rtp.codecs] == ["opus", "red"]
    assert (picture.direction, picture.rtcp_mux) == ("recvonly", True)
    assert [(c.name, c.payloadType) for c in picture.rtp.codecs] == [("H264", 108), ("rtx", 109)]
    # RFC 6184 section 8.2.2: levels may differ, and ours is higher.
    assert picture.rtp.codecs[0].parameters["profile-level-id"] == "42e034"
    assert picture.dtls is not None
    assert (picture.dtls.role, picture.ice.usernameFragment) == ("client", "viewerufrag")
    assert data.sctp_port == 5000


def test_the_offers_order_decides_between_codecs() -> None:
    text = CHROMIUM.replace("SAVPF 45 46 108 109 96 97", "SAVPF 45 46 96 97 108 109")
    offer = read_offer(text)
    assert offer.video is not None
    assert (offer.video.codec, offer.video.payload_type) == (Codec.VP8, 96)
    assert answer_to(offer).media[1].rtp.codecs[0].name == "VP8"


def test_gstreamers_bundle_only_sections_use_the_bundles_transport() -> None:
    offer = read_offer(GSTREAMER)
    assert offer.transport.ufrag == "PoZY2QyBt6"
    assert offer.channels == Channels()
    video = offer.video
    assert video is not None
    assert (video.codec, video.payload_type, video.rtx_payload_type) == (Codec.H264, 96, 0)
    assert (video.ssrc, video.rtx_ssrc, video.feedback) == (2704, 0, ("nack pli",))
    answer = answer_to(offer)
    assert ports(answer) == [9, 9, 9]
    assert [str(group) for group in answer.group] == ["BUNDLE audio0 video1 application2"]
    # Without level-asymmetry-allowed the level stays the offer's.
    assert answer.media[1].rtp.codecs[0].parameters["profile-level-id"] == "42e01e"


def test_one_plain_section_is_enough() -> None:
    offer = read_offer(PLAIN)
    assert (offer.transport.ufrag, offer.transport.ice_lite) == ("plainufrag", True)
    assert offer.transport.fingerprints == (Fingerprint("sha-256", HASH),)
    assert offer.video is not None
    assert (offer.video.codec, offer.video.ssrc, offer.channels) == (Codec.VP8, 0, None)
    text = write_answer(offer, OURS)
    assert "a=group" not in text
    assert "a=mid" not in text
    assert "m=video 9 RTP/SAVPF 100\r\n" in text


def test_of_several_videos_the_first_that_suits_is_taken() -> None:
    section = CHROMIUM[CHROMIUM.index("m=video") : CHROMIUM.index("m=application")]
    silent = section.replace("a=mid:1", "a=mid:5").replace("a=sendrecv", "a=recvonly")
    strange = section.replace("a=mid:1", "a=mid:6").replace("H264/", "H266/").replace("VP8/", "X/")
    second = section.replace("a=mid:1", "a=mid:7")
    text = CHROMIUM.replace(section, silent + strange + section + second)
    offer = read_offer(text)
    assert offer.video is not None
    assert offer.video.mid == "1"
    assert ports(answer_to(offer)) == [9, 0, 0, 9, 0, 9]


def test_what_is_of_no_bundle_of_ours_is_rejected() -> None:
    offer = read_offer(CHROMIUM.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 1 2"))
    assert offer.transport.candidates == (
        "4079297154 1 udp 2113937151 192.0.2.2 51996 typ host generation 0",
    )
    answer = answer_to(offer)
    assert ports(answer) == [0, 9, 9]
    assert [str(group) for group in answer.group] == ["BUNDLE 1 2"]


def test_channels_of_another_transport_are_rejected() -> None:
    offer = read_offer(CHROMIUM.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 1"))
    assert offer.channels is None
    assert ports(answer_to(offer)) == [9, 9, 0]


def test_channels_alone_are_an_offer_too() -> None:
    offer = read_offer(CHROMIUM.replace("m=video 51996", "m=video 0"))
    assert offer.video is None
    assert offer.channels is not None
    assert ports(answer_to(offer)) == [9, 0, 9]


def test_extensions_that_one_byte_headers_cannot_hold_are_left_out() -> None:
    text = CHROMIUM.replace("a=extmap:2 ", "a=extmap:15 ").replace("a=extmap:3 ", "a=extmap:4097 ")
    offer = read_offer(text)
    assert offer.video is not None
    assert offer.video.extensions == {"mid": 4}


def test_extensions_that_the_offerer_only_receives_are_left_out() -> None:
    offer = read_offer(CHROMIUM.replace("a=extmap:2 ", "a=extmap:2/recvonly "))
    assert offer.video is not None
    assert offer.video.extensions == {"transport-cc": 3, "mid": 4}


def test_the_bundles_first_section_has_its_transport() -> None:
    """RFC 9143 section 7.2: the group's order counts, not that of the sections."""
    offer = read_offer(CHROMIUM.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 1 0 2"))
    assert offer.transport.candidates == (
        "4079297154 1 udp 2113937151 192.0.2.2 51996 typ host generation 0",
    )


def test_dtls_roles_complement_each_other() -> None:
    assert answering_setup("active", prefer="active") == "passive"
    assert answering_setup("passive", prefer="passive") == "active"
    assert answering_setup("actpass", prefer="active") == "active"
    assert answering_setup("actpass", prefer="passive") == "passive"


BAD = [
    ("", "does not begin"),
    ("v=0\n", "no video in a codec of ours"),
    (CHROMIUM.split("m=video")[0], "no video in a codec of ours"),
    (CHROMIUM.replace("a=ice-ufrag:4k1D\n", ""), "has no a=ice-ufrag"),
    (CHROMIUM.replace("setup:actpass", "setup:holdconn"), "takes actpass or active or passive"),
    (CHROMIUM.replace("sha-256", "md5"), "no a=fingerprint of sha-256"),
    (CHROMIUM.replace("SAVPF 45", "SAVPF 245"), "payload type is not in 0..127"),
    (CHROMIUM.replace("extmap:2 ", "extmap:0 "), "0 is not in 1..4351"),
    (CHROMIUM.replace("extmap:2 ", "extmap:3 "), "the id 3 is taken twice"),
    (CHROMIUM.replace("FID 374117226", "FID -1"), "-1 is not a number"),
    (CHROMIUM.replace("a=ssrc:374117226", "a=ssrc:99999999999"), "99999999999 is not a number"),
    (CHROMIUM.replace("sctp-port:5000", "sctp-port:70000"), "70000 is not in 1..65535"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_bad_offers_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        read_offer(text)


def test_mutated_offers_are_read_or_refused_and_every_answer_can_be_read() -> None:
    rng = random.Random(20261123)
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
                    mutated[at] = mutated[at][: rng.randrange(len(mutated[at]) + 1)]
                case 3:
                    cut = rng.randrange(len(mutated[at]) + 1)
                    piece = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 5)))
                    mutated[at] = mutated[at][:cut] + piece + mutated[at][cut + 1 :]
                case 4:
                    other = rng.randrange(len(mutated))
                    mutated[at], mutated[other] = mutated[other], mutated[at]
        try:
            offer = read_offer("\n".join(mutated) + "\n")
        except SdpError:
            continue
        accepted += 1
        assert offer.video is not None or offer.channels is not None
        if offer.video is not None:
            types = (offer.video.payload_type, offer.video.rtx_payload_type)
            assert all(0 <= number <= 127 for number in types)
            ids = list(offer.video.extensions.values())
            assert len(set(ids)) == len(ids)
            assert all(1 <= number <= 14 for number in ids)
        lines_out = write_answer(offer, OURS).splitlines()
        taken = [line for line in lines_out if line.startswith("m=")]
        assert [" 0 " not in line for line in taken].count(True) == len(offer.accepted)
        assert len(taken) == len(offer.sections)
    assert 300 < accepted < 2900, "the fuzz no longer tries both sides"
