"""Where the settings come from, and reading all of them at once.

From the strongest: the command's own options, the environment, the secret directory, the file, the
profile, the defaults. Where a host's tokens come from is decided by the strongest of them that says
anything about it, alone. All that is wrong in any of them is told at once, each by the name that it
has where it stands: :class:`ConfigError`.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..secrets import SecretUnavailable, read_secret_file
from .names import (
    FIELDS,
    NESTED,
    SECTIONS,
    TOKENS,
    ConfigError,
    Loaded,
    Problem,
    Value,
    is_secret,
    variable_of,
)
from .rules import broken_rules
from .tree import DEFAULTS, Settings, normal
from .where import CONFIG_VARIABLE, PREFIX, SECRETS_VARIABLE, TOKEN_VARIABLE

NO_SETTINGS = frozenset({CONFIG_VARIABLE, SECRETS_VARIABLE})
"""Variables of ours that say where settings are."""

ALIASES = {PREFIX + "REDIS": "redis.url", TOKEN_VARIABLE: "host.token"}
"""Variables with a short name."""

_SHOWN = 60
"""Characters of a wrong value that are repeated."""


def load(
    *,
    file: Path | None = None,
    secrets: Path | None = None,
    environment: Mapping[str, str],
    options: Mapping[str, Value] | None = None,
) -> Loaded:
    """Read and check everything. ``options`` is what the command's own options say.

    ``file`` and ``secrets`` are the TOML file and the secret directory; where they are ``None``,
    the environment may name them. Raises :class:`ConfigError`.
    """
    problems: list[Problem] = []
    file = file or _path(environment.get(CONFIG_VARIABLE))
    secrets = secrets or _path(environment.get(SECRETS_VARIABLE))
    layers: list[Mapping[str, Value]] = []
    if file is not None:
        layers.append(dict(_from_file(file, problems)))
    if secrets is not None:
        layers.append(dict(_from_directory(secrets, problems)))
    layers += [dict(_from_environment(environment, problems)), options or {}]
    given = _merged(layers, problems)
    given = {**_from_profile(given), **given}
    settings, wrong = _validated(given)
    problems += wrong
    bad = {problem.name for problem in wrong}
    problems += broken_rules(settings, given, bad, file)
    if problems:
        raise ConfigError(problems)
    return Loaded(settings=settings, given=given)


# Sources -----------------------------------------------------------------------------------------


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _from_environment(
    environment: Mapping[str, str], problems: list[Problem]
) -> Iterator[tuple[str, Value]]:
    """An empty variable says nothing: whoever starts programs often cannot unset one."""
    variables = {variable_of(name): name for name in FIELDS} | ALIASES
    # The long name of a setting wins over the short one.
    for variable in sorted(environment, key=lambda v: v not in ALIASES):
        if not variable.startswith(PREFIX) or variable in NO_SETTINGS or not environment[variable]:
            continue
        name = variables.get(variable)
        if name is None:
            known = {*variables, *NO_SETTINGS}
            problems.append(Problem(variable, "is no setting" + _did_you_mean(variable, known)))
        else:
            yield name, Value(environment[variable], f"environment {variable}")


def _from_directory(directory: Path, problems: list[Problem]) -> Iterator[tuple[str, Value]]:
    try:
        files = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems.append(Problem(str(directory), f"secret directory: {error.strerror}"))
        return
    names = {name.replace(".", NESTED): name for name in FIELDS}
    for path in files:
        name = names.get(path.name.lower())
        if name is None:
            text = "no setting has the name of this file" + _did_you_mean(path.name, names)
            problems.append(Problem(str(path), text))
            continue
        try:
            value = read_secret_file(path)
        except SecretUnavailable as error:
            problems.append(Problem(name, str(error)))
            continue
        if value is not None:
            yield name, Value(value, f"secret file {path}")


def _from_file(path: Path, problems: list[Problem]) -> Iterator[tuple[str, Value]]:
    try:
        with path.open("rb") as file:
            tree = tomllib.load(file)
    except OSError as error:
        problems.append(Problem(str(path), error.strerror or "cannot be read"))
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # Its text says where, and shows nothing of what stands there.
        problems.append(Problem(str(path), f"is not TOML: {error}"))
        return
    yield from _from_table(tree, "", f"file {path}", problems)


def _from_table(
    table: Mapping[str, Any], prefix: str, origin: str, problems: list[Problem]
) -> Iterator[tuple[str, Value]]:
    for key, value in table.items():
        name = prefix + key
        if name in FIELDS:
            yield name, Value(value, origin)
        elif name not in SECTIONS:
            known = {*FIELDS, *SECTIONS}
            problems.append(Problem(name, "is no setting" + _did_you_mean(name, known), origin))
        elif isinstance(value, dict):
            yield from _from_table(value, name + ".", origin, problems)
        else:
            problems.append(Problem(name, f"is a section: [{name}] with settings in it", origin))


def _merged(layers: Iterable[Mapping[str, Value]], problems: list[Problem]) -> dict[str, Value]:
    """From the weakest: what comes later wins; of :data:`TOKENS` as a whole."""
    given: dict[str, Value] = {}
    for layer in layers:
        if _named_tokens(layer):
            given = {name: value for name, value in given.items() if name not in TOKENS}
            given.update(layer)
        else:
            given.update(
                (n, value) for n, value in layer.items() if n not in given or n not in TOKENS
            )
    first, *others = _named_tokens(given) or [""]
    for name in others:
        text = f"does not go with {first} ({given[first].origin}): take one of them away"
        problems.append(Problem(name, text, given[name].origin))
    return given


def _named_tokens(layer: Mapping[str, Value]) -> list[str]:
    """Those of :data:`TOKENS` of which it says anything: empty is nothing."""
    return [name for name in TOKENS if name in layer and layer[name].value != ""]


def _from_profile(given: Mapping[str, Value]) -> dict[str, Value]:
    profile = normal(given["environment"].value) if "environment" in given else ""
    defaults = DEFAULTS.get(profile, {}) if isinstance(profile, str) else {}
    return {name: Value(value, f"profile {profile}") for name, value in defaults.items()}


# Checking ----------------------------------------------------------------------------------------


def _validated(given: Mapping[str, Value]) -> tuple[Settings, list[Problem]]:
    """The settings, with defaults in the place of those that are wrong."""
    try:
        return Settings(**_nested(given)), []
    except ValidationError as error:
        found = error.errors(include_url=False)
    problems = []
    for each in found:
        name = _name_of(each["loc"])
        origin = given[name].origin if name in given else ""
        problems.append(Problem(name, _in_words(name, dict(each)), origin))
    wrong = {problem.name for problem in problems}
    rest = {name: value for name, value in given.items() if name not in wrong}
    return Settings(**_nested(rest)), problems


def _nested(given: Mapping[str, Value]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in given.items():
        *sections, last = name.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value.value
    return tree


def _name_of(location: tuple[int | str, ...]) -> str:
    """The setting that pydantic means; of a list's item the list."""
    name = ""
    for part in location:
        longer = f"{name}.{part}" if name else str(part)
        if longer not in FIELDS and longer not in SECTIONS:
            break
        name = longer
    return name


def _in_words(name: str, error: dict[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    text = str(error["msg"])
    said = error.get("input")
    if is_secret(FIELDS[name]) or not isinstance(said, str | int | float):
        return text
    shown = f"{said!r}"[:_SHOWN]
    if error["type"] == "literal_error" and isinstance(said, str):
        choices = typing.get_args(FIELDS[name].annotation)
        return f"{text}, not {shown}{_did_you_mean(said, choices)}"
    return f"{text}, not {shown}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f": did you mean {close[0]}?" if close else ""
