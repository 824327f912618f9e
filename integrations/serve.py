"""``playcast serve``: the signalling server with configuration, logs, reports and traces around it.

What is configured becomes the defaults of the server's own options; what those cannot say is handed
to it as parts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from signalling.__main__ import build_parser
from signalling.__main__ import main as signalling_main
from signalling.dev import ENVIRONMENT
from signalling.invites import Invitations, InvitationSettings, read_keys
from signalling.metrics import Metrics
from signalling.records import Records
from signalling.redis.options import settings_of as redis_settings_of
from signalling.surroundings import Surroundings

from .config.command import tell
from .config.names import ConfigError, Loaded
from .config.options import OVERRIDES, SERVE, option_defaults, said_by_options
from .config.sources import load
from .config.where import SECRETS_VARIABLE, source_options
from .errors import ErrorReports
from .logs import configure_logs
from .record_sinks import record_sinks
from .scrub import Scrubber
from .secrets import DirectorySecrets, EnvironmentSecrets, FixedSecrets, Secrets, SecretSource
from .tracing import OtlpTracer
from .turn_servers import turn_source

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command, without its name. Returns the exit status: 2 also for a wrong configuration."""
    where, words = source_options().parse_known_args(arguments)
    epilog = "--config FILE and --secrets DIRECTORY give defaults: see playcast config --help"

    def parse(surroundings: Surroundings) -> argparse.Namespace:
        told = dataclasses.replace(surroundings, epilog=epilog)
        return build_parser(told).parse_args(["serve", *words])

    parse(Surroundings())  # --help and mistakes end it here, in the words of the real defaults
    try:
        loaded = load(
            file=where.config,
            secrets=where.secrets,
            environment=os.environ,
            options=said_by_options(parse, {**SERVE, **OVERRIDES}),
        )
    except ConfigError as error:
        tell(error, "playcast serve")
        return 2
    # Dev mode looks there, wherever the profile was said.
    os.environ[ENVIRONMENT] = loaded.settings.environment
    surroundings = Surroundings(
        defaults=option_defaults(loaded, SERVE),
        enter=partial(_surround, loaded, where.secrets),
        epilog=epilog,
    )
    return signalling_main(["serve", *words], surroundings)


@asynccontextmanager
async def _surround(
    loaded: Loaded, directory: Path | None, options: argparse.Namespace
) -> AsyncIterator[Mapping[str, Any]]:
    settings = loaded.settings
    secrets = Secrets(_secret_sources(loaded, directory))
    known = tuple(loaded.secrets())
    scrubber = Scrubber(lambda: (*known, *secrets.values()))
    logs = settings.logs.model_copy(update={"level": options.log_level})
    configure_logs(logs, scrubber)
    release = _version()
    async with AsyncExitStack() as stack:
        metrics = Metrics(version=release, process=True)
        parts: dict[str, Any] = {"metrics": metrics, **settings.server.parts()}
        if settings.sentry.dsn.get_secret_value():
            reports = ErrorReports(
                settings.sentry, scrubber, release=release, environment=settings.environment
            )
            stack.push_async_callback(reports.close)
        if settings.telemetry.endpoint:
            tracer = OtlpTracer(
                settings.telemetry, scrubber, version=release, environment=settings.environment
            )
            stack.push_async_callback(tracer.close)
            parts["tracer"] = tracer
        turn = settings.turn
        parts["ice_servers"] = await turn_source(
            turn.regions,
            secrets,
            static=options.stun + options.turn,
            lifetime_s=turn.lifetime_s,
            home=turn.home,
            issued=metrics.turn_credential_issued,
        )
        sinks = await stack.enter_async_context(
            record_sinks(
                settings.audit, settings.events, redis_settings_of(options), metrics.registry
            )
        )
        parts["records"] = Records(metrics, sinks)
        if options.invitation_keys is None and settings.identity.invitation_keys.get_secret_value():
            parts["invitations"] = await _invitations(secrets, options.invitation_stay)
        watching = asyncio.create_task(secrets.run(), name="secrets")
        stack.push_async_callback(_cancel, watching)
        yield parts


async def _invitations(secrets: Secrets, stay_s: float) -> Invitations:
    """Goes by the keys that the secret has at any time, and that make sense."""

    def settings(text: str) -> InvitationSettings:
        return InvitationSettings(keys=read_keys(text), stay_s=stay_s)

    def changed(text: str) -> None:
        try:
            invitations.use(settings(text))
        except ValueError as error:
            log.error("the keys of invitations have not changed: %s", error)  # noqa: TRY400

    secret = await secrets.get("identity.invitation_keys")
    invitations = Invitations(settings(secret.current()))
    secret.subscribe(changed)
    return invitations


def _secret_sources(loaded: Loaded, directory: Path | None) -> list[SecretSource]:
    """In the order of :mod:`.config.sources`."""
    directory = directory or Path(os.environ.get(SECRETS_VARIABLE, ""))
    in_file = {
        name: str(value.value)
        for name, value in loaded.given.items()
        if value.origin.startswith("file ")
    }
    sources: list[SecretSource] = [EnvironmentSecrets(os.environ)]
    if directory != Path():
        sources.append(DirectorySecrets(directory))
    return [*sources, FixedSecrets(in_file)]


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _version() -> str:
    try:
        return version("playcast")
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
