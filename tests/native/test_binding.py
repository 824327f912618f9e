import errno

import pytest

from native import HandleClosed, Hub, InvalidArgument, NativeError, Source, StreamEnded
from native.binding import check, utf8
from native.errors import error_for


def test_a_negative_result_becomes_the_exception_of_its_errno():
    assert check(3) == 3
    with pytest.raises(InvalidArgument) as caught:
        check(-errno.EINVAL)
    assert caught.value.errno == errno.EINVAL
    assert isinstance(caught.value, ValueError)
    with pytest.raises(StreamEnded) as ended:
        check(-errno.EPIPE)
    assert isinstance(ended.value, EOFError)
    with pytest.raises(NativeError) as other:
        check(-errno.EADDRINUSE)
    assert (type(other.value), other.value.errno) == (NativeError, errno.EADDRINUSE)


def test_an_error_without_words_names_its_errno():
    assert error_for(errno.ENOTCONN, "").strerror == "ENOTCONN"
    assert error_for(errno.ENOTCONN, "no display").strerror == "no display"


def test_the_cores_words_reach_the_caller():
    with pytest.raises(InvalidArgument, match="dscp is a number from 0 to 63, not 64"):
        Hub(["127.0.0.1"], dscp=64)


def test_text_has_to_fit_its_field():
    assert utf8("mid", "é" * 8, 17) == "é".encode() * 8
    for value in ["x" * 17, "é" * 9, "a\0b"]:
        with pytest.raises(ValueError, match="mid takes up to 16 bytes"):
            utf8("mid", value, 17)


def test_a_closed_handle_says_so_and_closes_again():
    with Source.pattern(320, 180) as source:
        assert not source.closed
    assert source.closed
    source.close()
    with pytest.raises(HandleClosed, match="this source is closed"):
        _ = source.size


def test_a_forgotten_handle_is_closed_with_a_warning():
    with pytest.warns(ResourceWarning, match="unclosed"):
        Source.pattern(320, 180)
