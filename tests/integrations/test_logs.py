"""Lines are structured, correlated and scrubbed, however somebody logs."""

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.logs import LogSettings, bind, configure_logs, correlated, unbind
from integrations.scrub import Scrubber

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
SDP = "v=0\r\no=- 4611 2 IN IP4 203.0.113.9\r\ns=-\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
CANDIDATE = "candidate:1 1 udp 2122260223 198.51.100.4 54321 typ host"
SECRETS = [TOKEN, SDP, CANDIDATE, "203.0.113.9", "2001:db8::5", "Bearer abcdefghijkl", "pa55word!"]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    before = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = before
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(kind: str = "json", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logging.getLogger().handlers.clear()
    configure_logs(
        LogSettings(level=level, format=kind),
        Scrubber(lambda: ["pa55word!"]),
        stream=lambda: stream,
    )
    return stream


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_stdlib_and_structlog_lines_have_one_form():
    stream = configured()
    logging.getLogger("signalling.connection").warning("left room=%s", "arena", extra={"n": 2})
    structlog.get_logger("integrations.x").warning("left room=%s", "arena", n=2)
    stdlib, struct = lines(stream)
    assert stdlib.pop("logger") == "signalling.connection"
    assert struct.pop("logger") == "integrations.x"
    for line in (stdlib, struct):
        assert line.pop("timestamp").endswith("Z")
        assert line == {"event": "left room=arena", "level": "warning", "n": 2}


async def test_lines_of_a_task_have_its_ids_and_no_other_tasks():
    stream = configured()
    log = logging.getLogger("signalling.connection")
    both_bound = asyncio.Barrier(2)

    async def connection(peer: str) -> None:
        bind(connection=f"c-{peer}", peer=peer)
        await both_bound.wait()
        with correlated(request="r1", trace="t1"):
            log.info("request")
        unbind("peer")
        log.info("after")

    async with asyncio.TaskGroup() as group:
        for peer in ("one", "two"):
            group.create_task(connection(peer))
    log.info("outside")
    said = lines(stream)
    for peer in ("one", "two"):
        request, after = (line for line in said if line.get("connection") == f"c-{peer}")
        assert (request["peer"], request["request"], request["trace"]) == (peer, "r1", "t1")
        assert after.keys().isdisjoint({"peer", "request", "trace"})
    assert "connection" not in said[-1]


def test_a_line_with_ids_of_its_own_has_no_others():
    stream = configured()
    with correlated(connection="a", user="alice", trace="t1"):
        own = {"connection": "b", "user": "bob"}
        logging.LoggerAdapter(logging.getLogger("x"), own).info("dropped")
        structlog.get_logger("y").info("dropped", **own)
    for line in lines(stream):
        assert (line["connection"], line["user"]) == ("b", "bob")
        assert "trace" not in line


def raise_(text: str) -> None:
    raise ValueError(f"cannot use {text}")


def log_in_every_way(log: logging.Logger, text: str) -> None:
    log.info("%s", text)
    log.info("in a dict: %s, in a list: %r", {"x": text}, [text])
    log.info("named %(what)s", {"what": text})
    log.info("as bytes %s", text.encode())
    log.warning("extra", extra={"note": text, "deep": {"list": [text]}})
    structlog.get_logger("s").info("keywords", note=text, deep={"list": [text]})
    try:
        raise_(text)
    except ValueError as error:
        log.exception("failed")
        log.warning("failed: %s", error, stack_info=True)
        structlog.get_logger("s").exception("failed", error=error)


@pytest.mark.parametrize("kind", ["json", "console"])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_way_to_log_lets_a_secret_through(kind: str, secret: str):
    stream = configured(kind)
    with correlated(note=secret):
        log_in_every_way(logging.getLogger("a.module"), secret)
    said = stream.getvalue()
    assert "cannot be logged" not in said
    assert said.count("failed") >= 3
    for part in secret.split("\r\n"):
        assert not part or part == "s=-" or part not in said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(max_size=30), st.sampled_from(SECRETS), st.text(max_size=30))
def test_whatever_stands_around_it(before: str, secret: str, after: str):
    stream = configured()
    logging.getLogger("x").error("%s", f"{before} {secret}\n{after}")
    (line,) = lines(stream)
    assert secret not in line["event"]


def test_a_line_that_cannot_be_made_is_told_of_without_its_arguments(capsys):
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError(TOKEN)

    stream = configured()
    logging.getLogger("x").info("token %s", Bad())
    logging.getLogger("x").info("%d peers", TOKEN)
    said = lines(stream)
    assert [line["event"].split("): ")[1] for line in said] == ["RuntimeError", "TypeError"]
    assert capsys.readouterr() == ("", "")


def test_a_name_cannot_forge_a_line():
    stream = configured("console")
    logging.getLogger("x").info("joined name=%s", "eve\n2025-01-01 [info] all is well\x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_half_a_surrogate_pair_is_written_visibly():
    stream = configured()
    logging.getLogger("x").info("name=%s", "\ud83d")
    assert stream.getvalue().encode("utf-8")
    assert lines(stream)[0]["event"] == "name=\ud83d"


def test_uncaught_exceptions_and_warnings_are_scrubbed_too():
    stream = configured()
    thread = threading.Thread(target=raise_, args=(TOKEN,))
    thread.start()
    thread.join()
    try:
        raise_("203.0.113.9")
    except ValueError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("from 2001:db8::5", UserWarning, "f.py", 1)
    thread_line, main_line, warning = lines(stream)
    assert thread_line["level"] == main_line["level"] == "critical"
    assert "ValueError: cannot use [token]" in thread_line["exception"]
    assert "ValueError: cannot use [address]" in main_line["exception"]
    assert "from [address]" in warning["event"]


def test_levels_and_what_libraries_may_say():
    stream = configured(level="info")
    logging.getLogger("signalling").debug("no")
    logging.getLogger("aioice.ice").info("no")
    logging.getLogger("websockets.server").info("no")
    logging.getLogger("aioice.ice").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_a_log_that_nobody_reads_any_more_ends_nothing():
    stream = configured()
    stream.close()
    logging.getLogger("x").error("into the void")
