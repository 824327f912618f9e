import csv
import io
import json

import pytest

from peer import cli
from signalling.audit import AuditLog, AuditSettings
from signalling.audit.command import main

from .records import granted

KEY = b"k" * 32


@pytest.fixture
def log(tmp_path):
    """Three lines of two rooms, keyed; the key is in a file."""
    path = tmp_path / "audit.jsonl"
    (tmp_path / "key").write_bytes(KEY + b"\n")
    with AuditLog(AuditSettings(path=path, key=KEY)) as log:
        log.put(granted(0))
        log.put(granted(60, room="arena", actor="=HYPERLINK(1)"))
        log.put(granted(120))
    return path


def test_a_whole_log(log, capsys):
    assert main(["verify", str(log), "--key-file", str(log.parent / "key")]) == 0
    said = capsys.readouterr().out
    assert "4 lines in 1 files; head 4:" in said
    assert said.endswith("The chain is whole.\n")


def test_it_is_a_command_of_playcast(log, capsys):
    assert cli.main(["audit", "verify", str(log), "--key-file", str(log.parent / "key")]) == 0
    assert "The chain is whole." in capsys.readouterr().out


def test_a_log_that_was_changed(log, capsys):
    log.write_bytes(log.read_bytes().replace(b"user0", b"user9"))
    assert main(["verify", str(log), "--key-file", str(log.parent / "key")]) == 1
    said = capsys.readouterr().out
    assert f"{log}:2: was changed" in said
    assert "NOT whole" in said


def test_a_log_that_was_cut(log, capsys):
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    head = (log.parent / "audit.jsonl.head").read_text().strip()
    (log.parent / "audit.jsonl.head").unlink()
    key = ["--key-file", str(log.parent / "key")]
    assert main(["verify", str(log), *key]) == 0
    assert main(["verify", str(log), *key, "--head", head]) == 1
    assert "the end was cut off" in capsys.readouterr().out


def test_a_keyed_log_without_its_key(log, capsys):
    assert main(["verify", str(log)]) == 1
    assert "give --key-file" in capsys.readouterr().out


def test_a_log_without_a_key_says_what_that_proves(tmp_path, capsys):
    with AuditLog(AuditSettings(path=tmp_path / "a.jsonl")) as log:
        log.put(granted(0))
    assert main(["verify", str(tmp_path / "a.jsonl")]) == 0
    assert "can make it anew" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "subjects"),
    [
        ([], ["", "user0", "user60", "user120"]),
        (["--room", "den"], ["user0", "user120"]),
        (["--from", "2023-11-14T22:13:21", "--to", "2023-11-14T22:15:20"], ["user60"]),
        (["--to", "2023-11-14T23:14:20+01:00"], ["user0"]),
        (["--from", "2030-01-01"], []),
    ],
)
def test_exports_what_is_asked_for(log, capsys, options, subjects):
    # The log's own line is of now: after all of these, and before 2030.
    assert main(["export", str(log), *options]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["subject"] for e in found] == subjects


def test_exports_a_table(log, capsys):
    assert main(["export", str(log), "--room", "arena", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["subject"] == "user60"
    assert row["actor"] == "'=HYPERLINK(1)", "no formula for a spreadsheet"
    assert json.loads(row["data"]) == {"control": "pad:1"}


def test_export_tells_lines_that_it_cannot_read(log, capsys):
    log.write_bytes(log.read_bytes() + b"rubbish\n")
    assert main(["export", str(log)]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4
    assert f"{log}:5: is not JSON" in said.err


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "no.jsonl")]) == 2
    assert "is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--from", "soon"], ["--format", "xml"], ["--to", "2023-13-01"]]
)
def test_options_that_make_no_sense(log, capsys, options):
    with pytest.raises(SystemExit) as exit:
        main(["export", str(log), *options])
    assert exit.value.code == 2
