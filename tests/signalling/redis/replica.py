"""A server's copy of a room, which remembers what it was told and can be waited for."""

from __future__ import annotations

import asyncio
import itertools
import time

from signalling.messages import Answer, Chat
from signalling.rooms import Away, Join, Leave, Room, Say, Send

DEADLINE_S = 20.0

_serial = itertools.count(1)


def host(link="h", **more):
    return Join(link=link, at=time.time(), subject=f"{link}-subject", role="host", **more)


def viewer(link="v", **more):
    return Join(link=link, at=time.time(), subject=f"{link}-subject", role="viewer", **more)


def away(link):
    return Away(link, time.time())


def bye(link):
    return Leave(link, time.time(), "bye")


def say(link, text=None):
    """Something of its own that the room answers to everybody: no two are equal."""
    return Say(link, time.time(), Chat(text or f"{next(_serial)}"))


def answer(link, to, text):
    return Say(link, time.time(), Answer(to, text))


class Copy:
    """A :class:`signalling.bus.Replica` with clients ``links``."""

    def __init__(self, room="r"):
        self.room = Room(room)
        self.events = []
        """Delivered, in order."""
        self.mine = []
        """Those of them that this server is to act upon."""
        self.restored = 0
        self.sent = []
        """Messages to links, in order: (link, message)."""
        self._more = asyncio.Event()

    def deliver(self, event, mine):
        self.events.append(event)
        if mine:
            self.mine.append(event)
        for effect in self.room.apply(event):
            if isinstance(effect, Send):
                self.sent += [(link, effect.message) for link in effect.to]
        self._more.set()

    def snapshot(self):
        return self.room.snapshot()

    def restore(self, snapshot):
        self.room.restore(snapshot)
        self.restored += 1
        self._more.set()

    @property
    def present(self):
        """The links that are connected."""
        members = self.room.state.members.values()
        return {member.link for member in members if member.away_since is None}

    def said_by(self, link):
        """The texts of what ``link`` said."""
        said = [event for event in self.events if isinstance(event, Say) and event.link == link]
        return [getattr(event.message, "sdp", None) or event.message.text for event in said]

    @property
    def texts(self):
        """What anybody said, in order."""
        return [event.message.sdp for event in self.events if isinstance(event, Say)]

    async def until(self, true):
        """Until ``true(self)``, or, given an event, until it was delivered."""
        if not callable(true):
            event = true
            true = lambda copy: event in copy.events  # noqa: E731
        async with asyncio.timeout(DEADLINE_S):
            while not true(self):
                self._more.clear()
                await self._more.wait()
        return self


async def eventually(true):
    """Polls what cannot tell us, until ``true()`` or its result's is."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = true()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


async def same(*copies):
    """Until all copies are the same room."""
    async with asyncio.timeout(DEADLINE_S):
        while any(copy.room.state != copies[0].room.state for copy in copies):
            waits = [asyncio.ensure_future(copy._more.wait()) for copy in copies]
            for copy in copies:
                copy._more.clear()
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
