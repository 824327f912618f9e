import errno
import os
import resource
import subprocess
import sys
import threading

import pytest

from signalling.audit import AUDITED, AuditError, AuditLog, AuditSettings, verify
from signalling.audit import log as log_module
from signalling.audit.files import LogFile, chain_files, head_file, read_head
from signalling.records import Record, RecordType

from .records import entries, granted, subjects

KEY = b"k" * 32
DEADLINE_S = 20.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(log_module, "_RETRY_S", 0.01)


def opened(path, **changes):
    return AuditLog(AuditSettings(path=path, server="a", **changes))


def whole(path, key=b""):
    return verify(chain_files(path), key, head=read_head(path)).findings


def test_it_is_declared_of_every_record_whether_it_is_written():
    assert set(AUDITED) == set(RecordType.__args__)


def test_who_did_what_to_whom(path):
    with opened(path, key=KEY) as log:
        log.put(granted(1))
        log.put(Record(type="viewer.away", at=0.0, room="den"))
    first, second = entries(path)
    assert first["type"] == "audit.opened"
    assert first["data"] == {"algorithm": "hmac-sha256", "version": 1}
    assert {name: second[name] for name in ("seq", "time", "type", "room", "actor", "server")} == {
        "seq": 2,
        "time": "2023-11-14T22:13:21.000000Z",
        "type": "control.granted",
        "room": "den",
        "actor": "host",
        "server": "a",
    }
    assert (second["subject"], second["peer"]) == ("user1", "p1")
    assert second["data"] == {"control": "pad:1"}
    assert whole(path, KEY) == []
    assert (log.written, log.dropped, log.errors) == (1, 0, 0)
    assert read_head(path) == log.head
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sync", ["always", "second", "never"])
def test_nothing_is_lost_when_it_is_closed(path, sync):
    with opened(path, sync=sync) as log:
        for n in range(5000):
            log.put(granted(n))
    assert subjects(path) == [f"user{n}" for n in range(5000)]
    assert whole(path) == []
    log.put(granted(0))
    assert log.dropped == 1


def test_it_goes_on_where_it_was(path):
    for n in range(3):
        with opened(path) as log:
            log.put(granted(n))
    assert subjects(path) == ["user0", "user1", "user2"]
    assert [e["seq"] for e in entries(path)] == [1, 2, 3, 4, 5, 6]
    assert whole(path) == []


def test_files_are_changed_and_the_chain_is_not(path):
    for start in (0, 100):
        with opened(path, rotate_bytes=2000) as log:
            for n in range(start, start + 100):
                log.put(granted(n))
                wait_for(lambda n=n, start=start, log=log: log.written == n - start + 1)
    files = chain_files(path)
    assert len(files) > 20
    assert files[0].name == "audit.000000000001.jsonl"
    assert subjects(*files) == [f"user{n}" for n in range(200)]
    assert all(entries(file)[0]["type"] == "audit.opened" for file in files)
    assert whole(path) == []


def test_old_files_go_where_only_so_many_are_kept(path):
    with opened(path, rotate_bytes=1000, keep_files=2) as log:
        for n in range(50):
            log.put(granted(n))
            wait_for(lambda n=n: log.written == n + 1)
    assert len(chain_files(path)) <= 3
    report = verify(chain_files(path), head=read_head(path))
    assert report.findings == []
    assert report.first > 1


def wait_for(true):
    """Poll the writer's thread."""
    event, deadline = threading.Event(), DEADLINE_S
    while not true():
        event.wait(0.001)
        deadline -= 0.001
        assert deadline > 0


def test_a_line_that_a_crash_left_torn_is_cut_off(path):
    with opened(path) as log:
        log.put(granted(1))
    with path.open("ab") as file:
        file.write(b'{"actor":"ho')
    with opened(path) as log:
        log.put(granted(2))
    assert subjects(path) == ["user1", "user2"]
    assert entries(path)[2]["data"]["torn_bytes"] == 12
    assert whole(path) == []


def test_what_was_cut_off_while_it_was_closed_is_said_in_the_log(path):
    with opened(path) as log:
        for n in range(5):
            log.put(granted(n))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    with opened(path) as log:
        log.put(granted(9))
    said = entries(path)[3]
    assert (said["type"], said["seq"], said["data"]["lost"]) == ("audit.opened", 7, "4 to 6")
    assert [str(f).partition(": ")[2] for f in whole(path)] == [
        "when the log was opened, lines were gone: 4 to 6",
        "line 7 follows line 3",
    ]


@pytest.mark.parametrize("what", ["file", "head", "last line", "another last line"])
def test_what_is_gone_when_it_is_opened_is_found(path, what):
    with opened(path) as log:
        log.put(granted(1))
    lines = path.read_bytes().splitlines(keepends=True)
    if what == "file":
        path.unlink()
    elif what == "head":
        head_file(path).unlink()
    elif what == "last line":
        path.write_bytes(lines[0] + b"{}\n")
    else:
        path.write_bytes(lines[0])
        head_file(path).unlink()
        with opened(path) as log:
            log.put(granted(2))
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] + lines[1])
    with opened(path) as log:
        log.put(granted(3))
    assert subjects(path)[-1] == "user3"
    assert any("gone" in f.text for f in whole(path))


def test_a_disk_that_is_full_stops_nothing_and_loses_nothing(path):
    """The kernel takes a part of what is written, then none, then all again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = opened(path).open()
    try:
        log.put(granted(0))
        wait_for(lambda: log.written == 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 700, hard))
        try:
            for n in range(1, 100):
                log.put(granted(n))
            wait_for(lambda: log.errors >= 3)
            assert log.trouble == os.strerror(errno.EFBIG)
            assert log.written < 100
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        wait_for(lambda: log.written == 100)
        wait_for(lambda: not log.trouble)
    finally:
        log.close()
    assert subjects(path) == [f"user{n}" for n in range(100)]
    assert log.dropped == 0
    assert whole(path) == []


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_too_much_for_the_queue_is_counted_and_said(path, monkeypatch):
    log = opened(path, capacity=10).open()
    wait_for(lambda: log.head.seq == 1)
    append = LogFile.append
    monkeypatch.setattr(LogFile, "append", full)
    log.put(granted(0))
    wait_for(lambda: log.errors > 0)
    for n in range(1, 16):
        log.put(granted(n))
    assert log.dropped == 5
    monkeypatch.setattr(LogFile, "append", append)
    wait_for(lambda: log.written == 11)
    log.close()
    assert subjects(path) == [f"user{n}" for n in range(11)]
    dropped = [e["data"] for e in entries(path) if e["type"] == "audit.dropped"]
    assert dropped == [{"records": 5}]
    assert whole(path) == []


def test_closing_on_a_full_disk_says_what_is_lost(path, monkeypatch, caplog):
    log = opened(path).open()
    wait_for(lambda: log.head.seq == 1)
    monkeypatch.setattr(LogFile, "append", full)
    for n in range(3):
        log.put(granted(n))
    log.close()
    assert (log.written, log.dropped) == (0, 3)
    assert "3 records are not in the audit log: No space left on device" in caplog.text


def test_one_process_writes_a_log(path):
    with opened(path), pytest.raises(AuditError, match="another process writes it"):
        opened(path).open()
    opened(path).open().close()


def test_a_folder_that_is_not_there_is_told(path):
    with pytest.raises(AuditError, match="No such file or directory"):
        opened(path.parent / "no" / "audit.jsonl").open()


KILLED = """
import os, pathlib, signal, sys
from signalling.audit import AuditLog, AuditSettings
from tests.signalling.audit.records import granted
log = AuditLog(AuditSettings(path=pathlib.Path(sys.argv[1]))).open()
n = 0
while True:
    log.put(granted(n))
    n += 1
    if log.head.seq > 200:
        print(log.head, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_synced_is_there_after_a_kill(path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    seq = int(done.stdout.partition(":")[0])
    with opened(path) as log:
        log.put(granted(-1))
    found = subjects(path)
    assert found == [*(f"user{n}" for n in range(len(found) - 1)), "user-1"]
    assert len(found) >= seq - 1
    assert whole(path) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", b"short"),
        ("sync", "often"),
        ("rotate_bytes", 0),
        ("keep_files", -1),
        ("capacity", 0),
    ],
)
def test_settings_name_what_is_wrong(path, field, value):
    with pytest.raises(ValueError, match=f"^{field}:"):
        AuditSettings(path=path, **{field: value})


def test_the_key_is_not_shown(path):
    assert "kkkk" not in repr(AuditSettings(path=path, key=KEY))
