"""H.264 profiles and levels as SDP names them (RFC 6184 section 8.1: profile-level-id)."""

from __future__ import annotations

from typing import NamedTuple

from aiortc.sdp import H264Profile, parse_h264_profile_level_id

from native import Profile


class _Level(NamedTuple):
    idc: int
    macroblocks_per_second: int
    macroblocks: int


# Table A-1 of ITU-T H.264, from the lowest level that browsers offer themselves.
_LEVELS = (
    _Level(31, 108_000, 3_600),
    _Level(32, 216_000, 5_120),
    _Level(40, 245_760, 8_192),
    _Level(42, 522_240, 8_704),
    _Level(50, 589_824, 22_080),
    _Level(51, 983_040, 36_864),
    _Level(52, 2_073_600, 36_864),
)

# profile_idc and profile_iop. Constrained baseline sets constraint_set0..2: any decoder takes it.
_PROFILE_BYTES = {
    Profile.CONSTRAINED_BASELINE: "42e0",
    Profile.MAIN: "4d00",
    Profile.HIGH: "6400",
}

# What a stream of each profile may be sent as: a decoder of the right takes what the left makes.
_OURS = {
    H264Profile.PROFILE_CONSTRAINED_BASELINE: Profile.CONSTRAINED_BASELINE,
    H264Profile.PROFILE_BASELINE: Profile.CONSTRAINED_BASELINE,
    H264Profile.PROFILE_MAIN: Profile.MAIN,
    H264Profile.PROFILE_CONSTRAINED_HIGH: Profile.HIGH,
    H264Profile.PROFILE_HIGH: Profile.HIGH,
}


def level_for(width: int, height: int, fps: float) -> int:
    """The lowest level_idc (31 = level 3.1) for pictures of that many pixels and frames a second.

    What no level covers gets the highest.
    """
    macroblocks = -(-width // 16) * -(-height // 16)
    for level in _LEVELS:
        if macroblocks <= level.macroblocks and macroblocks * fps <= level.macroblocks_per_second:
            return level.idc
    return _LEVELS[-1].idc


def profile_level_id(profile: Profile, level_idc: int) -> str:
    """The six hexadecimal digits of `profile-level-id`."""
    return f"{_PROFILE_BYTES[profile]}{level_idc:02x}"


def profile_of(text: str) -> Profile | None:
    """The profile that a `profile-level-id` names; None when it is malformed or none of ours."""
    if len(text) != 6:
        return None
    try:
        profile, _ = parse_h264_profile_level_id(text)
    except ValueError:
        return None
    return _OURS.get(profile)
