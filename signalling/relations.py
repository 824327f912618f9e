"""What someone is to a room's host: follower, subscriber. For rooms that let in only those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .identity import Identity

if TYPE_CHECKING:
    from .rooms.events import Mark


class Relations(Protocol):
    """Says what a bearer is to the host of a room."""

    async def marks(self, identity: Identity, room: str) -> frozenset[Mark]:
        """All marks of ``identity`` in ``room``, those of its token included.

        Asked once for each join, before it. Never raises: what cannot be found out now is not
        there, and a room for followers then refuses with an error that says to try again.
        """


class TokenRelations:
    """:class:`Relations` that go by the token alone: the issuer knows who follows whom."""

    async def marks(self, identity: Identity, room: str) -> frozenset[Mark]:
        return identity.marks
