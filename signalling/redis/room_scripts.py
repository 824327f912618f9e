"""The scripts of one room, as calls: what they take and what they return.

Every method raises one of :data:`.session.FAILURES`.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from redis.exceptions import ResponseError

from ..rooms.events import Join
from .client import RedisClient
from .room_copy import RoomCopy
from .scripts import CHECK, ENTER, EXIT, FOUND, KEYS, PUBLISH, REAP, SAVE, sha
from .settings import RedisSettings
from .wire import (
    Differs,
    Entry,
    Follow,
    RedisDataError,
    away_template,
    decode_entered,
    encode_event,
    link_change,
)

_SHAS = {script: sha(script) for script in (CHECK, ENTER, EXIT, FOUND, PUBLISH, REAP, SAVE)}


class RoomScripts:
    """Those of the room ``name``, run by the server ``server`` whose copy of it is ``copy``."""

    def __init__(
        self, name: str, server: str, settings: RedisSettings, client: RedisClient, copy: RoomCopy
    ) -> None:
        base = f"{settings.prefix}{{{name}}}"
        self.channel = base.encode()
        self._server = server
        self._settings = settings
        self._client = client
        self._copy = copy
        self._keys = [f"{base}:{key}" for key in KEYS]
        self._token = ""  # of the last attempt to enter
        self._settle_ms = _ms(settings.settle_s)
        self._keep_ms = _ms(max(settings.window_s, 12 * settings.lease_s))

    @property
    def may_take_part(self) -> bool:
        """Redis may have this server as one that takes part."""
        return bool(self._token)

    async def enter(
        self,
        *,
        has_copy: bool,
        others: Collection[str] = (),
        after: tuple[int, str] | None = None,
        brought: Iterable[Entry] = (),
    ) -> Follow | Differs | None:
        """Take part; ``others`` do too, as far as is known; ``after`` an n and mark this server
        ``brought`` entries. ``None``: Redis does not have the room.
        """
        self._token = secrets.token_hex(8)  # Redis may have it, whatever becomes of this
        words: list[Any] = [self._settle_ms]
        words += (self._copy.position, self._copy.mark) if has_copy else (-1, "")
        words += (len(others), *others)
        if after is not None:
            words += after
            for entry in brought:
                words += (entry.server, entry.q, *link_change(entry.event), entry.encoded)
        return decode_entered(await self._run(ENTER, words))

    async def found(self, snapshot: bytes, others: Collection[str]) -> bool:
        """Make the room out of the copy, and wait for ``others``. ``False``: it is there, and
        has what the copy does not.
        """
        copy = self._copy
        words: list[Any] = [secrets.token_hex(8), self._settle_ms, copy.position, copy.mark]
        words += (snapshot, *(copy.alone_after or (-1, "")), len(others), *others)
        for table in (copy.links, copy.seq):
            words += (len(table), *(word for item in table.items() for word in item))
        for entry in copy.latest:
            words += (entry.n, entry.server, entry.q, entry.encoded)
        return bool(await self._run(FOUND, words))

    async def publish(self, entries: Mapping[int, tuple[str, str, bytes]]) -> tuple[str, list[int]]:
        """Append events: q -> what it does to the links, and the event. See the script."""
        words: list[Any] = [self._copy.position]
        for q, event in entries.items():
            words += (q, *event)
        word, *numbers = await self._run(PUBLISH, words)
        return word.decode(), numbers

    async def check(self) -> tuple[int, set[str], bool] | None:
        """The room's n, who takes part, and whether it waits for some of them; ``None``: this
        server must enter again.
        """
        valid, n, servers, settling = await self._run(CHECK, [])
        return (n, {server.decode() for server in servers}, bool(settling)) if valid else None

    async def save(self, n: int, mark: str, snapshot: bytes) -> None:
        """Keep a snapshot, unless the last is fresh."""
        settings = self._settings
        words = [_ms(settings.snapshot_s), settings.log_length // 2, n, mark, snapshot]
        await self._run(SAVE, words)

    async def reap(self, q: int, server: str, at: float, *, dead: bool) -> None:
        """The links of a server that is ``dead``, or takes no part in the room, are away since
        ``at`` (Unix seconds).
        """
        await self._run(REAP, [-q, server, *away_template(at), int(dead)])

    async def exit(self, q: int, at: float) -> None:
        """Take part no more; this server's links are away since ``at`` (Unix seconds)."""
        await self._run(EXIT, [-q, *away_template(at)])

    async def rehearse(self) -> None:
        """Whether Redis lets us run them all: in a room that nobody else has."""
        q = itertools.count(1)
        await self.found(b"", [self._server])
        entered = await self.enter(has_copy=False)
        assert isinstance(entered, Follow), entered
        self._copy.epoch = entered.epoch
        join = Join(link="-", at=0.0, subject="-", role="viewer")
        await self.publish({next(q): (*link_change(join), encode_event(join))})
        await self._run(SAVE, [1, 1, 1, f"{self._server} 1", b""])
        await self.reap(next(q), "-", 0.0, dead=True)
        await self.check()
        await self.exit(next(q), 0.0)

    async def _run(self, script: str, arguments: list[Any]) -> Any:
        common = [self._server, self.channel, self._copy.epoch, self._token, self._keep_ms]
        try:
            return await self._client.run(_SHAS[script], script, self._keys, common + arguments)
        except ResponseError as error:
            # A key of another kind, or one that lacks what we put there.
            if "WRONGTYPE" in str(error) or re.search(r"user_script:\d+: ", str(error)):
                raise RedisDataError(f"a room's keys: {error}") from error
            raise


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
