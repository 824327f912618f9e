"""Error reports to Sentry: errors alone, off without a DSN, scrubbed like the logs.

What is reported is what is logged as an error, with its exception: nobody calls Sentry. The ids of
the line, in its ``extra`` or bound to the context (:func:`.logs.bind`), become tags, and ``user``
the report's user. Of the lines that were logged before, its breadcrumbs, a report about a
connection has that connection's and those that are about none. The SDK's isolation scopes would not
do: they follow tasks, and here one callback of the event loop serves one connection and the next
another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, SecretStr
from structlog.contextvars import get_contextvars

from .config.section import Section
from .scrub import Scrubber

__all__ = ["ErrorReports", "NotInstalled", "SentrySettings"]

_IDS = ("connection", "room", "peer", "request", "trace", "user")
"""What lines tell of whom they are about; ``user`` is the subject of a token."""

_FLUSH_S = 2.0
_KEPT = frozenset({"breadcrumbs", "event_id", "level", "modules", "platform", "sdk", "timestamp"})
"""Parts of a report that hold nothing of anyone, or were scrubbed when they were taken."""


class NotInstalled(ValueError):
    """A setting asks for a library that is not installed. Says how to install it."""


class SentrySettings(Section):
    """Error reports."""

    dsn: SecretStr = SecretStr("")
    """Where reports go; empty: nowhere."""

    release: str = ""
    """The version that is said to have the error; empty: Playcast's."""

    environment: str = ""
    """Where it happened; empty: the profile."""

    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of errors that is reported."""


class ErrorReports:
    """Sentry, initialised. Close it to have the last reports sent."""

    def __init__(
        self, settings: SentrySettings, scrubber: Scrubber, *, release: str, environment: str
    ) -> None:
        """``release`` and ``environment`` stand in for what the settings leave empty.

        Raises :class:`ValueError` for a DSN that is none, or :class:`NotInstalled`.
        """
        try:
            import sentry_sdk
            from sentry_sdk.integrations.logging import LoggingIntegration
            from sentry_sdk.utils import BadDsn
        except ImportError as error:
            raise NotInstalled('sentry.dsn: needs pip install "playcast[operations]"') from error
        self._scrubber = scrubber
        try:
            sentry_sdk.init(
                dsn=settings.dsn.get_secret_value(),
                release=settings.release or release,
                environment=settings.environment or environment,
                sample_rate=settings.sample_ratio,
                before_send=self._prepare,  # type: ignore[arg-type]  # an event is a dict
                before_breadcrumb=self._scrub_breadcrumb,
                integrations=[LoggingIntegration()],
                auto_enabling_integrations=False,
                auto_session_tracking=False,
                include_local_variables=False,
                max_request_body_size="never",
                send_client_reports=False,
                shutdown_timeout=_FLUSH_S,
            )
        except BadDsn as error:
            raise ValueError("dsn: is not a Sentry DSN: https://KEY@HOST/PROJECT") from error
        self._sdk = sentry_sdk

    async def close(self) -> None:
        """Send what waits, for up to two seconds, and report nothing more."""
        client = self._sdk.get_client()
        await asyncio.to_thread(client.close, timeout=_FLUSH_S)
        self._sdk.get_global_scope().set_client(None)

    def _prepare(self, event: dict[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
        ids = _ids_of(event.get("extra", {}))
        user = ids.pop("user", "")
        said = {
            name: value if name in _KEPT else self._scrubber.value(value, depth=-8)
            for name, value in event.items()
        }
        said["tags"] = {**said.get("tags", {}), **self._scrubber.value(ids)}
        said["breadcrumbs"] = {"values": _crumbs_of(event, ids.get("connection", ""))}
        if user:
            said["user"] = {"id": user}
        return said

    def _scrub_breadcrumb(self, crumb: dict[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
        data = crumb.get("data") or {}
        crumb["data"] = {**data, **_ids_of(data)}
        return {
            name: value if name == "timestamp" else self._scrubber.value(value)
            for name, value in crumb.items()
        }


def _ids_of(extra: Mapping[str, Any]) -> dict[str, str]:
    """A line's own ids, else those of the context: who logs may be serving somebody else."""
    said = extra if "connection" in extra else {**get_contextvars(), **extra}
    return {name: str(said[name]) for name in _IDS if name in said}


def _crumbs_of(event: Mapping[str, Any], connection: str) -> list[Any]:
    crumbs = event.get("breadcrumbs") or {}
    return [
        crumb
        for crumb in crumbs.get("values", ())
        if crumb.get("data", {}).get("connection", connection) == connection
    ]
