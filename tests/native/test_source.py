import errno

import numpy as np
import pytest

from native import HandleClosed, InvalidArgument, NativeError, Source, Stream, read_pattern


def test_a_pattern_has_the_size_asked_for():
    with Source.pattern(640, 360) as source:
        assert source.size == (640, 360)
        picture = source.snapshot()
    assert picture.shape == (360, 640, 4)
    assert picture.std() > 10, "a pattern is not one colour"


def test_a_snapshot_carries_the_patterns_code():
    with Source.pattern(640, 360) as source:
        first, second = (read_pattern(source.snapshot()[:, :, 1]) for _ in range(2))
    assert first is not None
    assert second is not None
    assert second.frame == first.frame + 1
    assert second.time_us >= first.time_us


def test_the_same_seed_makes_the_same_texture():
    def texture(seed: int):
        with Source.pattern(640, 360, seed=seed) as source:
            return source.snapshot()[180:, :, :3]

    assert np.array_equal(texture(5), texture(5))
    assert not np.array_equal(texture(5), texture(6))


@pytest.mark.parametrize("size", [(318, 180), (320, 178), (321, 180), (320, 181), (0, 0)])
def test_a_size_that_the_pattern_does_not_come_in_is_refused(size: tuple[int, int]):
    with pytest.raises(InvalidArgument):
        Source.pattern(*size)


def test_no_display_is_an_error_that_names_it():
    with pytest.raises(NativeError, match=":4242") as caught:
        Source.x11(":4242")
    assert caught.value.errno == errno.ENOTCONN


def test_an_empty_region_is_refused():
    with pytest.raises(ValueError, match="region"):
        Source.x11(":4242", region=(0, 0, 0, 100))


def test_a_stream_takes_the_source_over():
    source = Source.pattern(320, 180)
    with Stream(source):
        assert source.closed
        with pytest.raises(HandleClosed):
            Stream(source)
