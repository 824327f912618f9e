import re
from pathlib import Path

import native
from native import Codec, Congestion, Controller, Preset, Profile, RateControl, SrtpProfile, Stage
from native.binding import lib


def test_every_stage_has_its_place_in_a_frames_times():
    assert [stage.value for stage in Stage] == list(range(lib.PC_STAGE_COUNT))


def test_no_enumerator_of_the_core_is_missing():
    header = (Path(native.__file__).parent / "core.cdef.h").read_text(encoding="utf-8")
    for name, mirror, extra in [
        ("pc_stage", Stage, 1),  # the count
        ("pc_srtp_profile", SrtpProfile, 0),
        ("pc_codec_id", Codec, 0),
        ("pc_controller", Controller, 0),
        ("pc_congestion_state", Congestion, 0),
        ("pc_profile", Profile, 0),
        ("pc_preset", Preset, 0),
        ("pc_rate_control", RateControl, 0),
    ]:
        body = re.search(rf"enum {name} \{{(.*?)\}};", header, re.S)
        assert body is not None
        names = re.findall(r"\bPC_\w+", re.sub(r"/\*.*?\*/", "", body[1], flags=re.S))
        assert len(mirror) == len(names) - extra, name


def test_protection_profiles_have_the_numbers_of_dtls_srtp():
    assert [p.value for p in SrtpProfile] == [0x0001, 0x0007, 0x0008]
