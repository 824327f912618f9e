import numpy as np
import pytest

from native import PatternCode, read_pattern, write_pattern


def canvas(width: int = 640, height: int = 360):
    return np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)


@pytest.mark.parametrize("frame", [0, 1, 0x12345678, 0xFFFFFFFF])
def test_what_was_painted_is_read_back(frame: int):
    picture = canvas()
    write_pattern(picture, frame, 0x123456789ABC)
    assert read_pattern(picture[:, :, 1]) == PatternCode(frame, 0x123456789ABC)
    assert read_pattern(np.ascontiguousarray(picture[:, :, 1])) == PatternCode(
        frame, 0x123456789ABC
    )


def test_rows_may_be_longer_than_the_picture():
    wide = canvas(800)
    picture = wide[:, :640]
    write_pattern(picture, 7, 8)
    assert read_pattern(picture[:, :, 1]) == PatternCode(7, 8)
    assert np.array_equal(wide[:, 640:], canvas(800)[:, 640:]), "nothing beside it is painted"


def test_a_picture_without_the_code_says_nothing():
    assert read_pattern(canvas()[:, :, 1]) is None
    assert read_pattern(np.zeros((360, 640), dtype=np.uint8)) is None


def test_arrays_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="luma takes rows of uint8"):
        read_pattern(np.zeros((360, 640, 4), dtype=np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="luma takes rows of uint8"):
        read_pattern(np.zeros((360, 640), dtype=np.uint16))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows in order"):
        read_pattern(np.zeros((360, 640), dtype=np.uint8)[::-1])
    with pytest.raises(ValueError, match="four bytes"):
        write_pattern(np.zeros((360, 640, 3), dtype=np.uint8), 1, 1)
    picture = canvas()
    picture.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        write_pattern(picture, 1, 1)
