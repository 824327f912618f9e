"""``playcast config``: is the configuration right, and what is it?"""

from __future__ import annotations

import argparse
import json
import os
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ..scrub import Scrubber
from .names import FIELDS, MASK, ConfigError, Loaded, is_secret, values_of
from .sources import load
from .where import CONFIG_VARIABLE, SECRETS_VARIABLE, add_source_options

EXAMPLES = f"""\
examples:
  playcast config check --config playcast.toml
      is all of it right? Says everything that is not. Exit status: 0 when it is, else 1
  playcast config show
      every setting, and where its value comes from; secrets are masked
  playcast config reference
      every setting there is, with its default

The file may be named by ${CONFIG_VARIABLE}, the directory of secrets by ${SECRETS_VARIABLE}.
"""


def run_config(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """The command. Returns the exit status: 0, 1 for a wrong configuration, 2 for wrong options."""
    options = _parser().parse_args(arguments)
    if options.what == "reference":
        print(reference())
        return 0
    try:
        loaded = load(file=options.config, secrets=options.secrets, environment=environment)
    except ConfigError as error:
        tell(error, "playcast config")
        return 1
    if options.what == "check":
        given = len(loaded.given)
        print(f"The configuration is right: {loaded.settings.environment}, {given} settings given.")
    elif options.json:
        print(json.dumps(_as_json(loaded), indent=2))
    else:
        print(shown(loaded))
    return 0


def tell(error: ConfigError, program: str) -> None:
    """Say on standard error all that is wrong."""
    scrub = Scrubber().text
    print(f"{program}: the configuration is wrong:", file=sys.stderr)
    for problem in error.problems:
        print(f"  {scrub(str(problem))}", file=sys.stderr)


def shown(loaded: Loaded) -> str:
    """Every setting as TOML, with its origin behind it."""
    lines = []
    for name, value in values_of(loaded.settings):
        left = f"{name} = {toml(value)}"
        lines.append(f"{left:<48}  # {loaded.origin(name)}")
    return "\n".join(lines)


def toml(value: Any) -> str:
    """A setting's value as TOML writes it; a secret's is masked."""
    return json.dumps(_plain(value), ensure_ascii=False)


def reference() -> str:
    """Every setting with its meaning and default, as tables of Markdown."""
    lines: list[str] = []
    section = None
    for name, info in FIELDS.items():
        head = name.rpartition(".")[0]
        if head != section:
            section = head
            lines += ["", f"**{head or 'At the top'}**", ""]
            lines += ["| setting | default | meaning |", "|---|---|---|"]
        text = " ".join((info.description or "").split()).replace("``", "`")
        secret = " *Secret.*" if is_secret(info) else ""
        lines.append(f"| `{name}`{_kind(info)} | `{toml(info.default)}` | {text}{secret} |")
    return "\n".join(lines).strip()


def _kind(info: FieldInfo) -> str:
    """The values that it takes, where they are few."""
    for annotation in (info.annotation, *typing.get_args(info.annotation)):
        if typing.get_origin(annotation) is typing.Literal:
            return ": " + ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    return ""


def _as_json(loaded: Loaded) -> dict[str, Any]:
    return {
        name: {"value": _plain(value), "origin": loaded.origin(name)}
        for name, value in values_of(loaded.settings)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return "" if value is None else str(value) if isinstance(value, Path) else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="playcast config",
        description="Check the configuration of every program, or show it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="check|show|reference")
    check = commands.add_parser("check", help="say everything that is wrong")
    show = commands.add_parser("show", help="show every setting and where it comes from")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    for command in (check, show):
        add_source_options(command)
    commands.add_parser("reference", help="show every setting there is")
    return parser
