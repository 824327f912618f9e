"""Recordings hold every frame at its time; snapshots hold the picture."""

from __future__ import annotations

import itertools
import resource
import select
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from native import (
    Codec,
    Picture,
    ReceivedFrame,
    ReceivedUnit,
    Source,
    Stream,
    StreamSettings,
    Tap,
    read_pattern,
)
from peer.recording import Recorder, write_png

MS = 1_000_000


def unit(data: bytes, number: int, *, idr: bool, rtp_time: int, at_ms: float) -> ReceivedUnit:
    at = round(at_ms * MS)
    frame = ReceivedFrame(number, rtp_time & 0xFFFFFFFF, len(data), idr, False, at, at, 0, None)
    return ReceivedUnit(frame, data)


@pytest.fixture(scope="module", params=list(Codec))
def encoded(request: pytest.FixtureRequest) -> Iterator[tuple[Codec, list[tuple[bytes, bool]]]]:
    """Twenty encoded frames of the pattern, the first an IDR."""
    frames: list[tuple[bytes, bool]] = []
    with (
        Stream(Source.pattern(320, 180), StreamSettings(fps=60, bitrate=1_000_000)) as stream,
        Tap(stream, request.param, depth=64) as tap,
    ):
        while len(frames) < 20:
            select.select([tap.fileno()], [], [], 5)
            while (got := tap.read()) is not None:
                frames.append((got.data, got.idr))
    return request.param, frames[:20]


def decoded(path: Path) -> list[tuple[int | None, float]]:
    """The pattern's numbers and the times in seconds."""
    rows: list[tuple[int | None, float]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            code = read_pattern(luma[:, : plane.width])
            assert frame.pts is not None
            rows.append((code.frame if code else None, float(frame.pts * frame.time_base)))
    return rows


def test_every_frame_is_there_at_its_time_across_the_wrap_of_rtp_time(
    tmp_path: Path, encoded: tuple[Codec, list[tuple[bytes, bool]]]
) -> None:
    codec, frames = encoded
    recorder = Recorder(tmp_path / "a.mkv", codec=codec)
    start = (1 << 32) - 5 * 3000
    for number, (data, idr) in enumerate(frames):
        recorder.write(
            unit(data, number, idr=idr, rtp_time=start + 3000 * number, at_ms=33 * number)
        )
    recorder.close()
    recorder.close()
    rows = decoded(tmp_path / "a.mkv")
    assert len(rows) == recorder.frames == 20
    assert recorder.bytes == sum(len(data) for data, _ in frames)
    assert recorder.seconds == pytest.approx(19 / 30, abs=0.001)
    first = rows[0][0]
    assert first is not None
    assert [number for number, _ in rows] == list(range(first, first + 20))
    for number, (_, seconds) in enumerate(rows):
        assert seconds == pytest.approx(number / 30, abs=0.001)
    with av.open(str(tmp_path / "a.mkv")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == (
            codec.name.lower(),
            320,
            180,
        )


def test_it_begins_with_an_idr(
    tmp_path: Path, encoded: tuple[Codec, list[tuple[bytes, bool]]]
) -> None:
    codec, frames = encoded
    recorder = Recorder(tmp_path / "a.mkv", codec=codec)
    for number, (data, idr) in enumerate([*frames[1:4], *frames]):
        recorder.write(unit(data, number, idr=idr, rtp_time=3000 * number, at_ms=33 * number))
    recorder.close()
    rows = decoded(tmp_path / "a.mkv")
    assert (len(rows), rows[0][1]) == (20, 0.0)


def test_a_session_that_follows_goes_on_where_it_really_began(
    tmp_path: Path, encoded: tuple[Codec, list[tuple[bytes, bool]]]
) -> None:
    codec, frames = encoded
    recorder = Recorder(tmp_path / "a.mkv", codec=codec)
    for session, (began_ms, rtp) in enumerate(((1000, 77), (4000, 123_456_789))):
        recorder.begin_session(codec)
        for number, (data, idr) in enumerate(frames):
            at = began_ms + 33 * number
            recorder.write(unit(data, number, idr=idr, rtp_time=rtp + 3000 * number, at_ms=at))
        assert recorder.seconds == pytest.approx(3 * session + 19 / 30, abs=0.002)
    recorder.close()
    times = [seconds for _, seconds in decoded(tmp_path / "a.mkv")]
    assert len(times) == 40
    assert times[20] == pytest.approx(3.0, abs=0.002)
    assert all(after > before for before, after in itertools.pairwise(times))


def test_where_nothing_was_recorded_there_is_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mkv")
    assert (tmp_path / "a.mkv").exists()
    recorder.close()
    assert not (tmp_path / "a.mkv").exists()


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorder(tmp_path / "nowhere" / "a.mkv")
    (tmp_path / "precious.mkv").write_text("precious")
    with pytest.raises(FileExistsError):
        Recorder(tmp_path / "precious.mkv")
    assert (tmp_path / "precious.mkv").read_text() == "precious"


def test_a_full_disk_is_told(
    tmp_path: Path, encoded: tuple[Codec, list[tuple[bytes, bool]]]
) -> None:
    codec, frames = encoded
    recorder = Recorder(tmp_path / "a.mkv", codec=codec)
    data, _ = frames[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_many(recorder, data, 300_000 // len(data) + 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    recorder.close()
    # Whoever made room again keeps what was recorded until then.
    assert len(decoded(tmp_path / "a.mkv")) > 5


def write_many(recorder: Recorder, data: bytes, count: int) -> None:
    for number in range(count):
        recorder.write(unit(data, number, idr=True, rtp_time=3000 * number, at_ms=33 * number))


def test_a_snapshot_has_the_pictures_colours(tmp_path: Path) -> None:
    # BT.709, limited range: red on the left, blue on the right.
    y, u, v = (np.zeros((90, 160), np.uint8), *(np.zeros((45, 80), np.uint8) for _ in range(2)))
    y[:, :80], y[:, 80:] = 63, 32
    u[:, :40], u[:, 40:] = 102, 240
    v[:, :40], v[:, 40:] = 240, 118
    frame = ReceivedFrame(0, 0, 0, True, False, 0, 0, 0, None)
    data = np.concatenate([plane.ravel() for plane in (y, u, v)])
    write_png(Picture(frame, 160, 90, 1, False, data), tmp_path / "a.png")
    with av.open(str(tmp_path / "a.png")) as container:
        (picture,) = container.decode(video=0)
    pixels = picture.to_ndarray(format="rgb24").astype(int)
    assert pixels.shape == (90, 160, 3)
    assert np.abs(pixels[10:80, 10:70] - (255, 0, 0)).max() <= 6
    assert np.abs(pixels[10:80, 90:150] - (0, 0, 255)).max() <= 6
