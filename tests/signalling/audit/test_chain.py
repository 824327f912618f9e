import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalling.audit.chain import (
    GENESIS,
    MAX_LINE_BYTES,
    Head,
    LineError,
    make_line,
    read_line,
    verify,
)

KEY = b"k" * 32


def said(n, **more):
    return {
        "server": "a",
        "type": "control.granted",
        "room": "den",
        "actor": "host",
        "subject": f"user{n}",
        "peer": "",
        "data": {"control": "pad:1"},
        **more,
    }


def chain(count, key=b""):
    head, lines = Head(), []
    for n in range(count):
        line, head = make_line(head, key, 1_700_000_000.0 + n, said(n))
        lines.append(line)
    return lines, head


@pytest.fixture
def write(tmp_path):
    """Puts lines into a file."""

    def write(lines, name="audit.jsonl"):
        file = tmp_path / name
        file.write_bytes(b"".join(lines))
        return file

    return write


def texts(report):
    return [finding.text for finding in report.findings]


def test_a_line_is_what_the_module_says():
    line, head = make_line(Head(), b"", 1_700_000_000.25, said(0))
    entry = json.loads(line)
    assert entry["time"] == "2023-11-14T22:13:20.250000Z"
    assert (entry["seq"], entry["prev"], entry["hash"]) == (1, GENESIS, head.hash)
    rest = {name: value for name, value in entry.items() if name != "hash"}
    body = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
    assert head.hash == hashlib.sha256(body).hexdigest()
    keyed, keyed_head = make_line(Head(), KEY, 1_700_000_000.25, said(0))
    assert keyed_head.hash == hmac.new(KEY, body, hashlib.sha256).hexdigest()
    assert read_line(keyed[:-1])["hash"] == keyed_head.hash


@pytest.mark.parametrize("key", [b"", KEY])
def test_a_whole_chain_is_whole(write, key):
    lines, head = chain(5, key)
    report = verify([write(lines)], key, head=head)
    assert (report.lines, report.first, report.head, report.findings) == (5, 1, head, [])


def test_a_chain_goes_on_from_file_to_file(write):
    lines, head = chain(5)
    files = [write(lines[:2], "a"), write(lines[2:4], "b"), write(lines[4:], "c")]
    assert verify(files, head=head).findings == []
    assert texts(verify([files[0], files[2]])) == ["line 5 follows line 2"]
    assert verify(files[1:]).first == 3
    assert verify(files[1:], head=head).findings == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_any_byte_is_found(tmp_path_factory, data):
    lines, head = chain(4, KEY)
    whole = b"".join(lines)
    where = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda b: b != whole[where]))
    changed = whole[:where] + bytes([other]) + whole[where + 1 :]
    file = tmp_path_factory.mktemp("chain") / "audit.jsonl"
    file.write_bytes(changed)
    assert verify([file], KEY, head=head).findings


@pytest.mark.parametrize("how", ["gone", "moved", "twice", "inserted"])
def test_lines_cannot_be_rearranged(write, how):
    lines, head = chain(5)
    forged, _ = make_line(Head(2, GENESIS), b"", 1_700_000_002.0, said(2))
    changed = {
        "gone": [*lines[:2], *lines[3:]],
        "moved": [lines[0], lines[2], lines[1], *lines[3:]],
        "twice": [*lines[:3], *lines[2:]],
        "inserted": [*lines[:2], forged, *lines[2:]],
    }[how]
    assert verify([write(changed)], head=head).findings


def test_who_has_no_key_cannot_make_a_line_anew(write):
    lines, head = chain(3, KEY)
    forged, _ = make_line(Head(2, head.hash), b"", 1_700_000_002.0, said("Mallory"))
    assert "was changed: its hash is another one" in texts(
        verify([write([*lines[:2], forged])], KEY)
    )


def test_who_has_none_and_changes_a_line_breaks_the_next(write):
    lines, _ = chain(4)
    forged, _ = make_line(
        Head(1, json.loads(lines[0])["hash"]), b"", 1_700_000_001.0, said("Mallory")
    )
    assert texts(verify([write([lines[0], forged, *lines[2:]])])) == [
        "does not follow from the line before: that one was changed or replaced"
    ]


def test_an_end_that_was_cut_off_shows_beside_the_head(write):
    lines, head = chain(5)
    file = write(lines[:3])
    assert verify([file]).findings == []
    assert texts(verify([file], head=head)) == [
        "ends with line 3; there were 5: the end was cut off"
    ]
    # Replaced, all of it, up to the same number.
    other = [make_line(Head(), b"", 0.0, said("x"))[0]]
    assert texts(verify([write(other)], head=Head(1, json.loads(lines[0])["hash"]))) == [
        "line 1 is not the one that the given head is of"
    ]
    assert texts(verify([write([])], head=head)) == [
        "ends with line 0; there were 5: the end was cut off"
    ]


def test_a_key_is_needed_where_there_was_one(write):
    lines, _ = chain(2, KEY)
    file = write(lines)
    assert len(verify([file]).findings) == 2
    assert len(verify([file], b"x" * 32).findings) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda e: json.dumps(e).encode(),
        lambda e: json.dumps(e, separators=(",", ":")).encode() if list(e) != sorted(e) else b"{}",
        lambda e: json.dumps({**e, "more": 1}, sort_keys=True, separators=(",", ":")).encode(),
        lambda e: json.dumps({**e, "seq": True}, sort_keys=True, separators=(",", ":")).encode(),
        lambda e: json.dumps({**e, "hash": "x"}, sort_keys=True, separators=(",", ":")).encode(),
        lambda e: b"[1]",
        lambda e: b"null",
        lambda e: b"",
        lambda e: b"\xff\x00",
        lambda e: b"[" * 50_000,
        lambda e: b'{"a":1,"a":2}',
        lambda e: b'{"a":NaN}',
    ],
)
def test_what_is_no_line_is_refused(change):
    entry = json.loads(chain(1)[0][0])
    with pytest.raises(LineError):
        read_line(change(entry))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_are_no_line(body):
    with pytest.raises(LineError):
        read_line(body)


@settings(max_examples=200, deadline=None)
@given(
    actor=st.text(max_size=50),
    data=st.dictionaries(
        st.text(max_size=5),
        st.text(max_size=20)
        | st.integers()
        | st.booleans()
        | st.none()
        | st.floats(allow_nan=False, allow_infinity=False),
        max_size=4,
    ),
)
def test_whatever_is_said_can_be_read_again(actor, data):
    line, head = make_line(Head(), KEY, 1_700_000_000.0, said(0, actor=actor, data=data))
    assert line.count(b"\n") == 1
    entry = read_line(line[:-1])
    assert (entry["actor"], entry["data"], entry["hash"]) == (actor, data, head.hash)


def test_a_line_has_its_length():
    line, head = make_line(Head(), b"", 0.0, said(0, data={"x": "y" * MAX_LINE_BYTES}))
    assert len(line) < 1000
    assert read_line(line[:-1])["data"] == {"omitted": "too long"}
    assert head.seq == 1


def test_a_head_is_read_as_it_is_written():
    head = Head(7, "ab" * 32)
    assert Head.parse(str(head)) == head
    for text in ("", "7", "7:", "x:" + "ab" * 32, "7:" + "AB" * 32, "-1:" + "ab" * 32):
        with pytest.raises(ValueError, match=re.escape("SEQ:HASH")):
            Head.parse(text)
