"""What people write, as others may see it: on terminals too."""

from __future__ import annotations

_UNSEEN = {
    code: None
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) != "\n"
}
"""Controls of terminals and of the writing direction. A table, and not what some version of Unicode
says: every server takes out the same.
"""


def readable(text: str) -> str:
    """``text`` without what acts on the screen instead of being read."""
    return text.translate(_UNSEEN).strip()
