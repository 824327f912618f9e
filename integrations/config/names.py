"""The names in the settings tree, what is said about them, and what is wrong with it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from .tree import Settings
from .where import PREFIX

NESTED = "__"
MASK = "********"


def leaves(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its name, in the tree's order."""
    for name, info in model.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from leaves(section, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def values_of(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting's value, in the tree's order."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from values_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def is_secret(info: FieldInfo) -> bool:
    """Whether a setting's value is to be masked."""

    def within(annotation: Any) -> bool:
        return annotation is SecretStr or any(map(within, typing.get_args(annotation)))

    return within(info.annotation)


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.replace(".", NESTED).upper()


FIELDS: Mapping[str, FieldInfo] = types.MappingProxyType(dict(leaves()))
"""Every setting, in the tree's order."""

SECTIONS = frozenset(
    ".".join(parts[:length])
    for parts in (name.split(".") for name in FIELDS)
    for length in range(1, len(parts))
)
"""The names of the sections."""


TOKENS = ("host.token", "host.token_command", "host.token_file", "host.login")
"""Each of these alone says where a host's tokens come from."""


@dataclass(frozen=True, slots=True)
class Value:
    """What one source says about one setting."""

    value: Any
    origin: str
    """Where it stands, in words: ``environment PLAYCAST_SERVER__PORT``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    name: str
    """The setting's, or what stands in its place."""

    text: str
    origin: str = ""

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.name}{where}: {self.text}"


class ConfigError(Exception):
    """The configuration is wrong; ``problems`` are all that are to be found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.name, problem.text))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Settings that are right, and where each comes from."""

    settings: Settings
    given: Mapping[str, Value] = field(repr=False)
    """What some source says, the defaults aside, by the setting's name."""

    def origin(self, name: str) -> str:
        """Where the value of this setting comes from."""
        return self.given[name].origin if name in self.given else "default"

    def secrets(self) -> Iterator[str]:
        """Every secret in the tree: what logs must not hold."""
        for _, value in values_of(self.settings):
            for secret in value if isinstance(value, tuple) else (value,):
                if isinstance(secret, SecretStr) and secret.get_secret_value():
                    yield secret.get_secret_value()
