"""What a member of the staff may ask of its room. Every method returns when it is done, and raises
:class:`.RequestRefused` when it is not; whether it may be asked for, the server decides.
"""

from __future__ import annotations

from typing import Any

from peer.requests import Answer
from peer.signalling_client import SignallingClient
from signalling import messages
from signalling.messages import Capability, Control, PeerId, Role, RoomRequest, Subject


class Moderation:
    """Runs the room that a signalling client is in."""

    def __init__(self, signalling: SignallingClient) -> None:
        self._signalling = signalling

    async def admit(self, peer: PeerId) -> None:
        """Let someone in who waits."""
        await self._ask(messages.Admit(peer))

    async def kick(self, peer: PeerId, message: str = "") -> None:
        """Put someone out, or do not let them in. They may come again."""
        await self._ask(messages.Kick(peer, message))

    async def ban(self, peer: PeerId, *, for_s: float | None = None, message: str = "") -> None:
        """Put someone out and keep them out, for so many seconds or for good."""
        await self._ask(messages.Ban(peer, for_s, message))

    async def unban(self, subject: Subject) -> None:
        """Let someone come again; ``subject`` is who they are to the issuer of the tokens."""
        await self._ask(messages.Unban(subject))

    async def promote(self, peer: PeerId, role: Role) -> None:
        """Make someone a viewer, a player or a moderator, until the room ends."""
        await self._ask(messages.Promote(peer, role))

    async def grant_control(
        self, peer: PeerId, control: Control, *, for_s: float | None = None
    ) -> None:
        """Give a control to someone, for so many seconds or until it is taken back."""
        await self._ask(messages.ControlGrant(control, peer, for_s))

    async def deny_control(self, peer: PeerId, control: Control, message: str = "") -> None:
        """Take someone out of those who wait for a control."""
        await self._ask(messages.ControlDeny(control, peer, message))

    async def take_control(self, control: Control) -> None:
        """Take a control back from whoever has it."""
        await self._ask(messages.ControlTake(control))

    async def grant(
        self, peer: PeerId, capability: Capability, *, for_s: float | None = None
    ) -> None:
        """Let someone do more, for so many seconds or until it is taken back."""
        await self._ask(messages.Grant(peer, capability, for_s))

    async def revoke(self, peer: PeerId, capability: Capability) -> None:
        """Take a permission back, whatever it came from."""
        await self._ask(messages.Revoke(peer, capability))

    async def configure(self, **changes: Any) -> None:
        """Change settings of the room, by the names of :class:`.RoomSettings`.

        Raises :class:`TypeError` for a setting that there is not.
        """
        await self._ask(messages.Configure(**changes))

    async def invite(self, role: Role = "viewer", *, for_s: float = 3600.0) -> messages.Invited:
        """A token that lets anyone in who has it, for so many seconds."""
        answer = await self._ask(messages.Invite(role, for_s))
        assert isinstance(answer, messages.Invited)
        return answer

    async def _ask(self, request: RoomRequest) -> Answer:
        return await self._signalling.request(request)
