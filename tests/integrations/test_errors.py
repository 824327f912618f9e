"""What reaches Sentry: errors, told apart by connection, and nothing secret."""

import asyncio
import logging

import pytest
import sentry_sdk
from structlog.contextvars import bound_contextvars, clear_contextvars

from integrations.errors import ErrorReports, SentrySettings
from integrations.scrub import Scrubber
from tests.integrations.sentry_server import SentryServer, sentry_server

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
SDP = "v=0\r\no=- 4611 2 IN IP4 203.0.113.9\r\ns=-\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
CANDIDATE = "candidate:1 1 udp 2122260223 198.51.100.4 54321 typ host"
PASSWORD = "correct-horse-battery"
HIDDEN = [TOKEN, "203.0.113.9", "abcdefghijklmnopqrstuv", "198.51.100.4", "54321", PASSWORD]

log = logging.getLogger("signalling.connection")


@pytest.fixture
async def server():
    clear_contextvars()
    sentry_sdk.get_isolation_scope().clear_breadcrumbs()
    async with sentry_server() as server:
        yield server


def reports(server: SentryServer, **settings) -> ErrorReports:
    return ErrorReports(
        SentrySettings(dsn=server.dsn, **settings),
        Scrubber(lambda: [PASSWORD]),
        release="0.1.0",
        environment="staging",
    )


def fail(said: str) -> None:
    token = TOKEN  # noqa: F841 - a local that must not be reported
    raise ValueError(f"cannot use {said}")


async def test_an_error_is_reported_with_release_environment_and_user(server: SentryServer):
    sentry = reports(server)
    try:
        with bound_contextvars(connection="c1", room="arena", peer="p1", user="user_2f"):
            try:
                fail("it")
            except ValueError:
                log.exception("serving failed")
        event = await server.event()
    finally:
        await sentry.close()
    assert event["release"] == "0.1.0"
    assert event["environment"] == "staging"
    assert event["user"] == {"id": "user_2f"}
    assert event["level"] == "error"
    tags = event["tags"]
    assert (tags["connection"], tags["room"], tags["peer"]) == ("c1", "arena", "p1")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ValueError", "cannot use it")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert isinstance(error["stacktrace"]["frames"][-1]["lineno"], int)
    assert not any("vars" in frame for frame in error["stacktrace"]["frames"])


async def test_settings_win_over_the_programs_own(server: SentryServer):
    sentry = reports(server, release="r9", environment="blue")
    try:
        log.error("bad")
        event = await server.event()
    finally:
        await sentry.close()
    assert (event["release"], event["environment"]) == ("r9", "blue")


async def test_nothing_secret_is_in_a_report(server: SentryServer):
    sentry = reports(server)
    try:
        log.info("token %s", TOKEN)
        log.warning("offer %r", SDP, extra={"sdp": SDP, "note": CANDIDATE})
        with bound_contextvars(note=f"{CANDIDATE} {PASSWORD}"):
            try:
                try:
                    fail(SDP)
                except ValueError as error:
                    raise RuntimeError(f"{TOKEN} {PASSWORD}") from error
            except RuntimeError:
                log.exception("failed for %s with %s", CANDIDATE, PASSWORD, extra={"x": [TOKEN]})
        envelope = await asyncio.wait_for(server.envelopes.get(), 5)
    finally:
        await sentry.close()
    text = envelope.serialize().decode()
    assert "cannot use" in text
    assert "[token]" in text
    assert [secret for secret in HIDDEN if secret in text] == []


async def test_only_errors_are_reported(server: SentryServer):
    sentry = reports(server)
    log.warning("not this")
    log.error("but this")
    await sentry.close()
    envelopes = [server.envelopes.get_nowait() for _ in range(server.envelopes.qsize())]
    kinds = [item.type for envelope in envelopes for item in envelope.items]
    assert kinds == ["event"]


async def test_connections_do_not_mix_what_led_to_an_error(server: SentryServer):
    """Of tasks with ids bound, and of callbacks in one context, whose lines have theirs."""
    sentry = reports(server)
    barrier = asyncio.Barrier(2)
    log.warning("the server has started")

    async def task(name: str) -> None:
        with bound_contextvars(connection=name, user=f"user-{name}"):
            log.warning("step of %s", name)
            await barrier.wait()
            log.error("end of %s", name)

    def callback(name: str, level: int, text: str) -> None:
        ids = {"connection": name, "user": f"user-{name}"}
        logging.LoggerAdapter(log, ids).log(level, text, name)

    try:
        await asyncio.gather(task("one"), task("two"))
        for level, text in ((logging.WARNING, "step of %s"), (logging.ERROR, "end of %s")):
            # Whoever is being served when the line is logged.
            with bound_contextvars(connection="one", user="user-one"):
                callback("three", level, text)
            callback("four", level, text)
        log.error("about nobody")
        events = [await server.event() for _ in range(5)]
    finally:
        await sentry.close()
    nobody = events.pop()
    assert {event["tags"]["connection"] for event in events} == {"one", "two", "three", "four"}
    for event in events:
        own = event["tags"]["connection"]
        assert event["user"] == {"id": f"user-{own}"}
        crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
        assert crumbs == ["the server has started", f"step of {own}"]
    crumbs = [crumb["message"] for crumb in nobody["breadcrumbs"]["values"]]
    assert crumbs == ["the server has started"]
    assert "user" not in nobody


async def test_after_closing_nothing_is_reported(server: SentryServer):
    sentry = reports(server)
    await sentry.close()
    log.error("too late")
    assert not sentry_sdk.get_client().is_active()
    assert server.envelopes.empty()


async def test_what_is_no_dsn_is_refused_without_repeating_it(server: SentryServer):
    with pytest.raises(ValueError, match=r"^dsn: ") as refused:
        ErrorReports(
            SentrySettings(dsn="https://s3cr3t-key"), Scrubber(), release="", environment=""
        )
    assert "s3cr3t" not in str(refused.value)
