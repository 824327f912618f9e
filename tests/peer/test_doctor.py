"""The doctor: what it finds on this machine, and what it says about broken ones."""

import asyncio
import errno
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from native import NativeError
from peer import doctor
from peer.child import ChildError
from peer.cli import main
from peer.doctor import CHECKS, DoctorSettings, Finding, Problem, examine, to_json


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.delenv("DISPLAY", raising=False)


async def find(name: str, settings: DoctorSettings | None = None) -> Finding:
    async for finding in examine(settings or DoctorSettings()):
        if finding.name == name:
            return finding
    raise AssertionError(name)


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {name: CHECKS[name] for name in names})


async def test_this_machine_can_host() -> None:
    findings = [finding async for finding in examine(DoctorSettings())]
    assert [finding.name for finding in findings] == list(CHECKS)
    assert [f for f in findings if f.status == "failed"] == []
    assert "1280 x 720" in next(f for f in findings if f.name == "capture").detail
    assert "x264" in next(f for f in findings if f.name == "encoder").detail


async def test_a_busy_udp_port_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "UDP port")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        settings = DoctorSettings(udp_port=taken.getsockname()[1])
        finding = await find("UDP port", settings)
    assert finding.status == "failed"
    assert "--udp-port" in finding.fix


async def test_a_foreign_address_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "UDP port")
    finding = await find("UDP port", DoctorSettings(bind=("192.0.2.77",)))
    assert finding.status == "failed"
    assert "--bind" in finding.fix


async def test_a_display_that_does_not_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "capture")
    finding = await find("capture", DoctorSettings(display=":9999"))
    assert finding.status == "failed"
    assert "$XAUTHORITY" in finding.fix


async def test_a_display_without_shm_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "capture")

    def refuse(*_: object) -> Any:
        raise NativeError(errno.EOPNOTSUPP, "the display has no MIT-SHM")

    monkeypatch.setattr(doctor.Source, "x11", refuse)
    finding = await find("capture", DoctorSettings(display=":0"))
    assert finding.detail == "the display has no MIT-SHM"
    assert "MIT-SHM" in finding.fix


async def test_a_missing_game_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "display")

    def missing(*_: object) -> Any:
        raise ChildError("chocolate-doom is not installed: apt-get install chocolate-doom")

    monkeypatch.setattr(doctor, "freedoom", missing)
    finding = await find("display")
    assert finding.status == "failed"
    assert finding.fix == "apt-get install chocolate-doom"


async def test_a_server_that_does_not_start_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "web viewer")
    monkeypatch.setattr("peer.server_child.COMMAND", ("/bin/false",))
    finding = await find("web viewer")
    assert finding.status == "failed"
    assert finding.fix


async def test_a_page_without_a_video_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "web viewer")
    monkeypatch.setattr(doctor, "_fetch", lambda url: b"<h1>It works!</h1>")
    assert (await find("web viewer")).status == "failed"


async def test_no_browser_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "browser")
    monkeypatch.setattr(doctor, "BROWSERS", ())
    finding = await find("browser")
    assert finding.status == "warning"
    assert "chromium" in finding.fix


async def test_a_check_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: DoctorSettings) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.01)
    monkeypatch.setattr(doctor, "CHECKS", {"hanging": hang})
    assert (await find("hanging")).status == "failed"


def check_that(problem: Problem | None) -> Callable[[DoctorSettings], Awaitable[str]]:
    async def check(_: DoctorSettings) -> str:
        if problem is not None:
            raise problem
        return "fine"

    return check


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (None, 0),
        (Problem("meh", "do better", fatal=False), 0),
        (Problem("broken", "mend it"), 1),
    ],
)
def test_the_exit_status_and_json_agree(
    problem: Problem | None,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = {"first": check_that(None), "second": check_that(problem)}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert main(["doctor", "--json"]) == status
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is (status == 0)
    assert [check["name"] for check in found["checks"]] == ["first", "second"]
    assert main(["doctor"]) == status
    said = capsys.readouterr().out
    if problem is not None:
        assert f"to fix it: {problem.fix}" in said


def test_json_says_how_to_fix() -> None:
    found = to_json([Finding("display", "failed", "none", "get one")])
    assert found == {
        "ok": False,
        "checks": [{"name": "display", "status": "failed", "detail": "none", "fix": "get one"}],
    }
