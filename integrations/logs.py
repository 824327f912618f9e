"""Structured logs: one line an event, as JSON or for a terminal, without anybody's secrets.

Modules log as ever, with :func:`logging.getLogger`; :func:`configure_logs` has structlog render
their records and its own loggers' alike. What is bound to the context goes into every line that is
logged in it, so that a line tells which connection, room, peer and trace it belongs to::

    with correlated(room="arena", peer=peer):
        log.info("joined")      # {"event": "joined", "room": "arena", "peer": "…", …}

A line is scrubbed (:mod:`.scrub`) whole and last, exception texts included, so that no way to log
goes around it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, unbind_contextvars
from structlog.types import EventDict, Processor, WrappedLogger

from .config.section import Section
from .scrub import Scrubber

__all__ = ["LogSettings", "bind", "configure_logs", "correlated", "unbind"]

_MANY_LINES = ("exception", "stack")

_QUIET = ("aioice", "aiortc", "websockets")
"""Libraries that tell every frame or address below WARNING."""


class LogSettings(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "warning"
    """The least severe that is logged."""

    format: Literal["console", "json"] = "console"
    """For people, or one JSON object a line."""


def configure_logs(
    settings: LogSettings,
    scrubber: Scrubber | None = None,
    *,
    stream: Callable[[], TextIO] = lambda: sys.stderr,
) -> None:
    """Have everything in this process logged so, in place of what was configured before.

    ``stream`` is asked for each line. Uncaught exceptions, of threads too, are logged the same way,
    and warnings.
    """
    handler = _Handler(stream)
    handler.setFormatter(_formatter(settings, scrubber or Scrubber()))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    for library in _QUIET:
        quiet = settings.level != "debug" or library == "websockets"
        logging.getLogger(library).setLevel(logging.WARNING if quiet else logging.NOTSET)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    structlog.configure(
        processors=[*_before(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def bind(**ids: str) -> None:
    """Add these to every line that is logged in this context (task) from now on."""
    bind_contextvars(**ids)


def unbind(*names: str) -> None:
    """The reverse of :func:`bind`."""
    unbind_contextvars(*names)


@contextmanager
def correlated(**ids: str) -> Iterator[None]:
    """:func:`bind` for the length of a ``with``; what was bound before comes back after it."""
    with bound_contextvars(**ids):
        yield


def _before() -> list[Processor]:
    return [
        _merge_context,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _merge_context(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A line that says itself whose it is may be logged while somebody else is being served."""
    if "connection" in event or hasattr(event.get("_record"), "connection"):
        return event
    return structlog.contextvars.merge_contextvars(logger, method, event)


def _formatter(settings: LogSettings, scrubber: Scrubber) -> logging.Formatter:
    last: list[Processor]
    if settings.format == "json":
        last = [structlog.processors.JSONRenderer(default=str)]
    else:
        last = [
            _one_line,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            ),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_before(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _Scrub(scrubber),
            *last,
        ],
    )


class _Scrub:
    """The processor that stands right before the renderer."""

    _OURS = ("timestamp", "level", "logger")

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        scrub = self._scrubber
        # The names are from our own sources.
        return {
            name: value if name in self._OURS else scrub.value(value, name)
            for name, value in event.items()
        }


def _one_line(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """What somebody else made up must not look like a line of its own."""
    return {
        name: _visible(value) if isinstance(value, str) and name not in _MANY_LINES else value
        for name, value in event.items()
    }


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class _Handler(logging.Handler):
    """Writes lines to what the stream is at the time."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - whatever an argument's __str__ raises
            # logging itself would print the arguments, which nobody has scrubbed.
            where = f"{record.filename}:{record.lineno}"
            text = f"a line cannot be logged ({where}): {type(error).__name__}"
            kept = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
            line = self.format(logging.makeLogRecord({**kept, "msg": text}))
        line = line.encode("utf-8", "backslashreplace").decode()
        try:
            print(line, file=self._stream(), flush=True)
        except (OSError, ValueError):
            return  # nobody reads the log any more, and there is nowhere to say so


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("playcast").critical("uncaught", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None:
        return
    _log_uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
