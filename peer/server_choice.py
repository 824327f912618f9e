"""Which of several servers a client is with, or tries next."""

from __future__ import annotations

from collections.abc import Sequence

from peer.signalling_link import Lost, SignallingRefused


class ServerChoice:
    """Servers of the same rooms, taken in turn."""

    def __init__(self, urls: Sequence[str]) -> None:
        """``urls`` are in the order in which they are tried; there is one at least."""
        self._urls = urls
        self._turn = 0
        self._unusable: set[str] = set()

    @property
    def url(self) -> str:
        """The one of now."""
        return self._urls[self._turn % len(self._urls)]

    def go_on(self) -> None:
        """The next one's turn."""
        self._turn += 1

    def took_us(self) -> None:
        """This one is one of ours; the others may have become so."""
        self._unusable.clear()

    def is_unusable(self, refusal: SignallingRefused) -> Lost | SignallingRefused:
        """This one is no server of ours. What that is: the end only where no other is left."""
        self._unusable.add(self.url)
        if self._unusable >= set(self._urls):
            return refusal
        return Lost(str(refusal), elsewhere=True)
