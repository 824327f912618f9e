"""What a room is: Redis and a server that knows it, or nothing of it, agree on that.

Either may have what the other lacks: Redis what happened while the server was cut off, the server
what a Redis that crashed has lost, or what it did alone meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from .room_copy import RoomCopy
from .room_scripts import RoomScripts
from .wire import Differs, Entry, Follow, RedisDataError

_ATTEMPTS = 16  # while others change the room under our hands


async def negotiate(
    copy: RoomCopy,
    scripts: RoomScripts,
    snapshot: Callable[[], bytes],
    others: Callable[[], Collection[str]],
) -> tuple[Follow, bool]:
    """Enter the room.

    ``snapshot`` makes one of ``copy``, ``others`` are the servers that take part as far as this one
    knows. Returns what Redis has for this server, which takes part from then on; and whether it had
    gone *apart*: ``copy`` has what is no part of the room.

    Raises one of :data:`.session.FAILURES`.
    """
    began = copy.position
    has_copy, apart = bool(copy.epoch), False
    after, brought = None, list[Entry]()
    refused = False
    for _ in range(_ATTEMPTS):
        found = await scripts.enter(
            has_copy=has_copy, others=others(), after=after, brought=brought
        )
        if copy.position != began:
            raise RedisDataError("went on alone meanwhile")
        match found:
            case Follow():
                return found, apart
            case None:
                await scripts.found(snapshot(), others())
                has_copy = True
            case Differs(how=how, n=n, mark=mark):
                missing = copy.entries_after(n, mark) if how == "behind" else None
                went_alone = copy.alone_after is not None
                if missing is not None:
                    after, brought = (n, mark), missing
                elif (how == "behind" or went_alone) and not refused:
                    # Who was quicker may have made what this server would have made.
                    refused = not await scripts.found(snapshot(), others())
                else:
                    has_copy, apart = False, how != "old" or went_alone
    raise RedisDataError("cannot be entered: others change it all the time")
