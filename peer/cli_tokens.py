"""The options of ``host`` and ``view`` that say where tokens come from, and the logins behind one.

With ``peer/cli.py`` this is where the command reaches over to the integrations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from peer.signalling_settings import TokenSource, TokenUnavailable

ONLY_LOGIN = "*"
"""Stands for the issuer where there is no other login."""


TOKEN_OPTIONS = ("token", "token_command", "token_file", "login")
"""By their ``dest``: where tokens come from."""


def add_token_options(group: argparse._ActionsContainer, *, fixed: bool = False) -> None:
    """Add them, of which one at most may be given; :func:`token_source_of` reads them.

    ``fixed``: with ``--token``, for a command whose argument has none.
    """
    group = group.add_mutually_exclusive_group()
    if fixed:
        group.add_argument("--token", help="what the server asks for ($PLAYCAST_TOKEN)")
    group.add_argument(
        "--token-command",
        metavar="COMMAND",
        help="run this for each token: it writes one line; no shell reads it",
    )
    group.add_argument(
        "--token-file", type=Path, metavar="FILE", help="read this for each token: it may change"
    )
    group.add_argument(
        "--login",
        nargs="?",
        const=ONLY_LOGIN,
        metavar="ISSUER",
        help="tokens of the one who signed in there with playcast login",
    )


def token_source_of(options: argparse.Namespace) -> TokenSource | None:
    """What the options name, if they do.

    Raises :class:`ValueError` naming the option, and :class:`.TokenUnavailable` where nobody has
    signed in.
    """
    if (options.token_command, options.token_file, options.login) == (None, None, None):
        return None
    if options.login is not None:
        return _login_tokens(options.login)
    from peer.token_source import CommandTokens, FileTokens

    if options.token_file is not None:
        return FileTokens(options.token_file)
    try:
        return CommandTokens(options.token_command)
    except ValueError as error:
        raise ValueError(f"--token-command {error}") from None


def _login_tokens(issuer: str) -> TokenSource:
    from integrations.device_login import LoginError
    from integrations.login_store import LoginStore, LoginTokens

    store = LoginStore()
    try:
        found = store.find("" if issuer == ONLY_LOGIN else issuer)
        return LoginTokens(store, found.issuer)
    except LoginError as error:
        raise TokenUnavailable(str(error)) from error
