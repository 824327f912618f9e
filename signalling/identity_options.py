"""The options of ``playcast serve`` that say whose tokens to accept, and what they let do."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from .auth import AccessRules, TokenVerifier, Verifier, VerifierSettings
from .dev import DevIssuer, require_development, require_loopback
from .invites import (
    MAX_LIFETIME_S,
    InvitationKey,
    Invitations,
    InvitationSettings,
    read_keys,
)

_ROLE_OPTIONS = {
    "admin": "the issuer's role or permission that makes an admin (admin); with Clerk also org:ROLE"
    " and org:FEATURE:PERMISSION, here and below",
    "host": "the one that lets host (host)",
    "moderator": "the one that makes a moderator (moderator)",
    "player": "the one that lets play (player)",
    "viewer": "the one that lets watch; * is everyone (viewer; with Clerk *)",
    "follower": "the one that a room's followers have (follower)",
    "subscriber": "the one that a room's subscribers have (subscriber)",
}


class UsageError(Exception):
    """The options do not go together. Names them."""


def add_identity_options(parser: argparse.ArgumentParser) -> None:
    """Add them; :func:`verifier_of` reads them."""
    whose = parser.add_argument_group("whose tokens to accept")
    whose.add_argument("--dev", action="store_true", help="make a key and tokens; loopback only")
    whose.add_argument(
        "--clerk-publishable-key", metavar="pk_…", help="those of this Clerk instance's sessions"
    )
    whose.add_argument("--issuer", metavar="URL", help="those whose iss is this")
    whose.add_argument(
        "--jwks", metavar="FILE|URL", help="where the issuer's keys are (where it says they are)"
    )
    whose.add_argument("--audience", metavar="NAME", help="those made for this (aud)")
    whose.add_argument(
        "--authorized-party",
        "--azp",
        dest="authorized_party",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="those made for this page, as https://play.example (azp); repeatable",
    )
    whose.add_argument(
        "--allow-missing-party",
        action="store_true",
        help="and those made for no page: a desktop host's may have no azp",
    )
    whose.add_argument(
        "--leeway",
        type=_leeway,
        default=5.0,
        metavar="SECONDS",
        help="how far the issuer's clock may be from ours (%(default)g)",
    )

    may = parser.add_argument_group("what they let do")
    for name, meaning in _ROLE_OPTIONS.items():
        may.add_argument(
            f"--{name}-role",
            action="append",
            default=[],
            metavar="ROLE",
            help=f"{meaning}; repeatable",
        )
    may.add_argument(
        "--role-claim",
        metavar="NAME",
        help="where an issuer's tokens have their roles, as realm_access.roles (role)",
    )
    may.add_argument(
        "--any-room",
        action="store_true",
        help="tokens that name no room are good for every room (with Clerk they always are)",
    )
    may.add_argument(
        "--clerk-organization",
        action="append",
        default=[],
        metavar="ID|SLUG",
        help="the organization whose roles count; * is any; repeatable",
    )
    may.add_argument(
        "--email-domain",
        action="append",
        default=[],
        metavar="DOMAIN",
        help="only who has a verified e-mail address there; repeatable",
    )
    may.add_argument(
        "--invitation-keys",
        type=Path,
        metavar="FILE",
        help="keys that sign invitations, lines of ID:BASE64, the first of which signs; servers"
        " that share rooms share them (one of this process alone)",
    )
    may.add_argument(
        "--invitation-stay",
        type=_stay,
        default=InvitationSettings.stay_s,
        metavar="SECONDS",
        help="how long after an invitation's end who came by it may stay (%(default)g)",
    )


def invitations_of(options: argparse.Namespace) -> Invitations:
    """What makes and checks invitations. Raises :class:`UsageError` and :class:`ValueError`."""
    path = options.invitation_keys
    if path is None:
        return Invitations(
            InvitationSettings(keys=(InvitationKey.generate(),), stay_s=options.invitation_stay)
        )
    try:
        keys = read_keys(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--invitation-keys: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--invitation-keys {path}: {error}") from None
    if not keys:
        raise UsageError(f"--invitation-keys {path}: holds no key")
    return Invitations(InvitationSettings(keys=keys, stay_s=options.invitation_stay))


def verifier_of(options: argparse.Namespace, issuer: DevIssuer | None) -> TokenVerifier:
    """The verifier that the options describe; ``issuer`` is that of dev mode.

    Raises :class:`UsageError` or :class:`ValueError` naming the option or setting, and
    :class:`.dev.DevModeError`.
    """
    if issuer is not None:
        _refuse_with(
            "--dev makes its own key",
            options,
            "clerk_publishable_key issuer jwks audience authorized_party allow_missing_party"
            " role_claim any_room clerk_organization email_domain "
            + " ".join(f"{name}_role" for name in _ROLE_OPTIONS),
        )
        require_development()
        require_loopback(options.host)
        return issuer.verifier()
    if options.clerk_publishable_key:
        return _clerk(options)
    _refuse_with("without --clerk-publishable-key", options, "clerk_organization")
    if not options.issuer:
        raise UsageError("whose tokens to accept? Give --clerk-publishable-key, --issuer, or --dev")
    if not options.audience and not options.authorized_party:
        raise UsageError(
            "--audience or --authorized-party is needed: for whom the issuer made the tokens"
        )
    return Verifier(
        VerifierSettings(
            issuer=options.issuer,
            jwks=options.jwks or None,
            audience=options.audience,
            authorized_parties=frozenset(options.authorized_party),
            party_required=not options.allow_missing_party,
            role_claim=options.role_claim or "role",
            access=_access(options, everyone_watches=False, any_room=options.any_room),
            leeway_s=options.leeway,
        )
    )


def _clerk(options: argparse.Namespace) -> TokenVerifier:
    from integrations.clerk import ClerkSettings, ClerkVerifier

    _refuse_with(
        "--clerk-publishable-key says it already", options, "issuer audience role_claim any_room"
    )
    if not options.authorized_party:
        raise UsageError(
            "--clerk-publishable-key needs --authorized-party: the origin of the page that people"
            " sign in to, as https://play.example"
        )
    return ClerkVerifier(
        ClerkSettings(
            publishable_key=options.clerk_publishable_key,
            authorized_parties=frozenset(options.authorized_party),
            party_required=not options.allow_missing_party,
            organizations=frozenset(options.clerk_organization),
            access=_access(options, everyone_watches=True, any_room=True),
            jwks=options.jwks,
            leeway_s=options.leeway,
        )
    )


def _access(options: argparse.Namespace, *, everyone_watches: bool, any_room: bool) -> AccessRules:
    def named(name: str) -> frozenset[str]:
        return frozenset(getattr(options, f"{name}_role") or [name])

    viewer_roles: frozenset[str] | None = named("viewer")
    if "*" in options.viewer_role or (everyone_watches and not options.viewer_role):
        viewer_roles = None
    return AccessRules(
        admin_roles=named("admin"),
        host_roles=named("host"),
        moderator_roles=named("moderator"),
        player_roles=named("player"),
        viewer_roles=viewer_roles,
        follower_roles=named("follower"),
        subscriber_roles=named("subscriber"),
        any_room=any_room,
        email_domains=frozenset(options.email_domain),
    )


def _refuse_with(why: str, options: argparse.Namespace, names: str) -> None:
    for name in names.split():
        if getattr(options, name):
            raise UsageError(f"{why}: it does not go with --{name.replace('_', '-')}")


def _seconds(text: str, most: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= most:
        raise argparse.ArgumentTypeError(f"takes 0..{most:g} seconds, not {text!r}")
    return seconds


def _leeway(text: str) -> float:
    return _seconds(text, 300)


def _stay(text: str) -> float:
    return _seconds(text, MAX_LIFETIME_S)
