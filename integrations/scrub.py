"""Takes out of texts and structures what no log and no error report may hold.

That is: tokens and passwords, session descriptions (RFC 8866), ICE candidates (RFC 8839), and the
addresses of people. Loopback and the unspecified address say nothing about anyone and stay. Where
it is not sure, :class:`Scrubber` takes too much: a version number of four parts goes as an address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

TOKEN, SECRET, SDP, CANDIDATE, ADDRESS = "[token]", "[secret]", "[sdp]", "[candidate]", "[address]"

MAX_TEXT = 32 * 1024
"""Longer texts are cut off here, in characters."""

MAX_DEPTH = 8
"""Structures nested deeper are left out whole."""

MIN_SECRET_LENGTH = 6
"""Shorter secrets are not looked for: they would be found in ordinary words."""

# A line's end in a text, or as JSON or repr() write it, once or several times over.
_EOL = r"(?:\r?\n|\\{1,8}r\\{1,8}n|\\{1,8}n|\\{1,8}u000d\\{1,8}u000a)"

# Names and ids, in which there is no place for anything.
_WORD = re.compile(r"[A-Za-z0-9_-]*")

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_SDP = re.compile(rf"v=0{_EOL}(?:[a-z]=(?:(?!{_EOL})[^\r\n])*(?:{_EOL}|\Z|(?=[\r\n])))*")
_SDP_LINE = re.compile(r"\ba=(?:ice-ufrag|ice-pwd|fingerprint|crypto|identity):[^\r\n\\\"']*")
_CANDIDATE = re.compile(r"\bcandidate:[^\r\n\\\"']*")
_DOTTED_WORD = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")
# How base64url begins of "{" and the quote or white space that follows it in JSON.
_JSON_IN_BASE64 = re.compile(r"e(?:y[ABIJ]|w[opkl01])[A-Za-z0-9_-]{4}")
_INVITATION = re.compile(r"invite\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?")
_SCHEME = re.compile(r"\b(bearer|basic|digest)(\s+)(?![\s\[])[^\s,;\"']{6,}", re.IGNORECASE)
_NAMED = re.compile(
    r"""((?<![A-Za-z])(?:[A-Za-z0-9_-]{0,32}[_-])?
        (?:passw(?:or)?d|pwd|secrets?|credentials?|api_?key|authorization|cookie|signature|hmac|ufrag|(?:tokens?|seat)
        (?=\\{0,4}["']?\s*[:=]\s*(?:\\{0,4}["']|[^\s,;&]{0,128}[0-9]|[^\s,;&]{16})))
        \\{0,4}["']?\s*[:=]\s*(?:(?:bearer|basic|digest)\s+)?)
        (\\{0,4}"[^"\r\n]*"?|'[^'\r\n]*'?|(?![\[\s])[^\s,;&}\)\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_LOGIN = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,31}:(?://)?)[^\s/@:\"'?#]{0,256}:[^\s/@\"'?#]{0,256}@", re.IGNORECASE
)
_MDNS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\.local", re.I)
_DOTTED = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = re.compile(
    rf"(?:[0-9A-Fa-f]{{0,4}}:){{2,}}(?:{_DOTTED}|[0-9A-Fa-f]{{0,4}})(?:%[A-Za-z0-9_.-]{{1,16}})?"
)
_IPV4 = re.compile(rf"(?<!\d){_DOTTED}(?!\d)")

# Of structures: what these names hold goes, whatever it looks like.
_SENSITIVE = re.compile(
    r"token|secret|passw|pwd|credential|authorization|cookie|api_?key|private_?key|signature|hmac"
    r"|^seat$|^sdp$|ufrag|^candidates?$|^ip$|addr|^remote|x.forwarded.for|x.real.ip",
    re.IGNORECASE,
)
_SAYS_NOTHING = re.compile(
    r"token[_-]?(?:type|kind|count|s_?total|left_s|notice_s)$", re.IGNORECASE
)


class Scrubber:
    """Scrubs; knows the secrets of this program besides what any secret looks like."""

    def __init__(self, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        """``secrets``: those that are in use now. Asked for each text, so it should be quick."""
        self._secrets = secrets

    def text(self, text: str) -> str:
        """``text`` without them. What was taken out leaves a word in brackets."""
        # Twice the length that is kept, so that what lies across its end is seen whole.
        text = text[: 2 * MAX_TEXT]
        if len(text) >= MIN_SECRET_LENGTH:
            for secret in self._secrets():
                if len(secret) >= MIN_SECRET_LENGTH and secret in text:
                    text = text.replace(secret, SECRET)
        if _WORD.fullmatch(text):
            return text[:MAX_TEXT]
        # Looking for a character is a hundred times quicker than for an expression.
        if "PRIVATE KEY" in text:
            text = _PRIVATE_KEY.sub(SECRET, text)
        if "v=0" in text:
            text = _SDP.sub(SDP, text)
        if "a=" in text:
            text = _SDP_LINE.sub(SDP, text)
        if "candidate:" in text:
            text = _CANDIDATE.sub(CANDIDATE, text)
        if "." in text:
            if _JSON_IN_BASE64.search(text):
                text = _DOTTED_WORD.sub(_token, text)
            text = _INVITATION.sub(TOKEN, text)
            text = _MDNS.sub(ADDRESS, text)
        if "@" in text:
            text = _LOGIN.sub(rf"\1{SECRET}@", text)
        if ":" in text or "=" in text:
            text = _NAMED.sub(rf"\1{SECRET}", text)
        text = _SCHEME.sub(rf"\1\2{SECRET}", text)
        if ":" in text:
            text = _IPV6.sub(_address, text)
        if "." in text:
            text = _IPV4.sub(_address, text)
        return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"

    def value(self, value: Any, name: str = "", depth: int = 0) -> Any:
        """A structure without them; ``name`` is the key that it stands under.

        Mappings and sequences come back as ``dict`` and ``list``, what is neither as text.
        """
        if name and _is_sensitive(name):
            return value if value is None or isinstance(value, bool) else SECRET
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= MAX_DEPTH:
            return "…"
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self.text(bytes(value).decode("utf-8", "backslashreplace"))
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self.value(item, str(key), depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, "", depth + 1) for item in value]
        return self.text(repr(value))


@lru_cache(maxsize=1024)
def _is_sensitive(name: str) -> bool:
    return bool(_SENSITIVE.search(name)) and not _SAYS_NOTHING.search(name)


def _token(found: re.Match[str]) -> str:
    """A JWS has three parts, a JWE five; only two may be left of one that was cut."""
    text = found[0]
    start = _JSON_IN_BASE64.search(text)
    if start is None or "." not in text[start.start() :]:
        return text
    return text[: start.start()] + TOKEN


def _address(found: re.Match[str]) -> str:
    text = found[0]
    # A colon before or after it may be the sentence's, where it is not one of two.
    before = ":" if text.startswith(":") and not text.startswith("::") else ""
    after = ":" if text.endswith(":") and not text.endswith("::") else ""
    core = text.removeprefix(before).removesuffix(after)
    try:
        address = ipaddress.ip_address(core.partition("%")[0])
    except ValueError:
        if ":" not in core or ("::" not in core and core.count(":") < 7):
            return text  # an octet over 255, or a time
    else:
        if address.is_loopback or address.is_unspecified or _is_a_name(found):
            return text
    return before + ADDRESS + after


def _is_a_name(found: re.Match[str]) -> bool:
    """Of ``std::vector`` the middle alone would be an address."""
    after = found.string[found.end() : found.end() + 1]
    return found[0].endswith("::") and found[0].rstrip(":").isalpha() and after.isalpha()
