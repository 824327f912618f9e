"""The core's enumerations. Every number comes out of the compiled module."""

from __future__ import annotations

from enum import IntEnum

from native.binding import lib


class Stage(IntEnum):
    """A point in a frame's life at the sender, in the order in which frames reach them."""

    DAMAGE = lib.PC_STAGE_DAMAGE
    """The change on the display became known; the capture's start where that is unknown."""
    CAPTURE_START = lib.PC_STAGE_CAPTURE_START
    CAPTURED = lib.PC_STAGE_CAPTURED
    CONVERTED = lib.PC_STAGE_CONVERTED
    FIRST_SLICE = lib.PC_STAGE_FIRST_SLICE
    """The first slice left the encoder."""
    ENCODED = lib.PC_STAGE_ENCODED
    FIRST_SENT = lib.PC_STAGE_FIRST_SENT
    """The first packet was handed to the kernel, for the first viewer."""
    LAST_SENT = lib.PC_STAGE_LAST_SENT


class Codec(IntEnum):
    """What a stream is encoded in; one encode for each that somebody receives."""

    H264 = lib.PC_H264
    VP8 = lib.PC_VP8


class Controller(IntEnum):
    """Who finds the rate that a peer is sent at."""

    TRAIN = lib.PC_CONTROLLER_TRAIN
    """Ours: every frame's burst is the probe, and the queueing delay's target is near zero."""
    GCC = lib.PC_CONTROLLER_GCC
    """Google congestion control (draft-ietf-rmcat-gcc-02): the baseline and fallback."""
    FIXED = lib.PC_CONTROLLER_FIXED
    """Nobody: the stream's bitrate, whatever the network says."""


class SrtpProfile(IntEnum):
    """Protection profiles by their DTLS-SRTP numbers (RFC 5764 section 4.1.2, RFC 7714 14.2)."""

    AES128_CM_SHA1_80 = lib.PC_SRTP_AES128_CM_SHA1_80
    AEAD_AES_128_GCM = lib.PC_SRTP_AEAD_AES_128_GCM
    AEAD_AES_256_GCM = lib.PC_SRTP_AEAD_AES_256_GCM


class Profile(IntEnum):
    """H.264 profiles."""

    CONSTRAINED_BASELINE = lib.PC_PROFILE_CONSTRAINED_BASELINE
    MAIN = lib.PC_PROFILE_MAIN
    HIGH = lib.PC_PROFILE_HIGH


class Preset(IntEnum):
    """x264's speed against size, fastest first."""

    ULTRAFAST = lib.PC_PRESET_ULTRAFAST
    SUPERFAST = lib.PC_PRESET_SUPERFAST
    VERYFAST = lib.PC_PRESET_VERYFAST


class RateControl(IntEnum):
    """Who keeps frames within their budget."""

    FRAME = lib.PC_RATE_CONTROL_FRAME
    """One quantiser decision a frame, ours: a third faster."""
    VBV = lib.PC_RATE_CONTROL_VBV
    """x264's row by row: never over the budget."""


class Congestion(IntEnum):
    """What the controller of a peer's rate is doing."""

    FIXED = lib.PC_CONGESTION_FIXED
    """There is none: the rate is the stream's."""
    STARTING = lib.PC_CONGESTION_STARTING
    """No feedback yet, or ramping up to find the capacity."""
    STEADY = lib.PC_CONGESTION_STEADY
    """At the capacity, or limited by what the encoder gives."""
    PROBING = lib.PC_CONGESTION_PROBING
    """Trying more."""
    DRAINING = lib.PC_CONGESTION_DRAINING
    """Less than the capacity, until the queue is empty."""
    COMPETING = lib.PC_CONGESTION_COMPETING
    """Against traffic that fills the queue."""
    SILENT = lib.PC_CONGESTION_SILENT
    """Feedback has stopped: the network may be gone."""
