"""A handler that tests can wait for."""

import asyncio

DEADLINE_S = 20.0


class Handled(list):
    """Keeps what it is called with. Fails as often as it is told to."""

    def __init__(self, fail=0):
        self.failures_left = fail
        self._more = asyncio.Event()

    async def __call__(self, event):
        await asyncio.sleep(0)
        if self.failures_left > 0:
            self.failures_left -= 1
            self._more.set()
            raise RuntimeError("not now")
        self.append(event)
        self._more.set()

    async def until(self, count):
        await self.until_true(lambda: len(self) >= count)

    async def until_true(self, true):
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self._more.clear()
                await self._more.wait()

    @property
    def rooms(self):
        return [event.room for event in self]


async def until(true):
    """Poll what cannot tell us: counters, and Redis."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            result = true()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)
