"""Where the configuration is said to be. Quick to import: every command asks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

PREFIX = "PLAYCAST_"
CONFIG_VARIABLE = PREFIX + "CONFIG"
SECRETS_VARIABLE = PREFIX + "SECRETS"
TOKEN_VARIABLE = PREFIX + "TOKEN"


def is_configured(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether there is anything to read for a command with these arguments, besides its token."""
    named = any(word.partition("=")[0] in ("--config", "--secrets") for word in words)
    return named or any(name.startswith(PREFIX) and name != TOKEN_VARIABLE for name in environment)


def source_options() -> argparse.ArgumentParser:
    """``--config`` and ``--secrets``, which stand among the options of every command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_source_options(parser)
    return parser


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the two, with their help."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"TOML file of settings (${CONFIG_VARIABLE})"
    )
    parser.add_argument(
        "--secrets",
        type=Path,
        metavar="DIRECTORY",
        help=f"directory with a file for each secret (${SECRETS_VARIABLE})",
    )
