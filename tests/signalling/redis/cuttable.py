"""A way to Redis that can be cut, and mended."""

from redis.exceptions import ConnectionError as RedisConnectionError


class CuttableClient:
    """A :class:`signalling.redis.client.RedisClient` whose connections can be cut, and stay so."""

    def __init__(self, client):
        self._client = client
        self._listeners = []
        self._held = {}
        self.cut = False
        self.deaf = False
        """What Redis answers to scripts does not arrive."""
        self.refused = 0
        """Calls since it was cut."""

    async def run(self, *arguments):
        if self.cut:
            self.refused += 1
            raise RedisConnectionError("cut")
        barrier = self._held.pop(arguments[1], None)
        if barrier is not None:
            await barrier.wait()
        answer = await self._client.run(*arguments)
        if self.deaf:
            raise RedisConnectionError("the answer was lost")
        return answer

    def hold(self, script, barrier):
        """Do not run ``script`` the next time before others are at the ``barrier`` too."""
        self._held[script] = barrier

    async def execute(self, *words):
        if self.cut:
            raise RedisConnectionError("cut")
        return await self._client.execute(*words)

    async def listener(self, heard):
        if self.cut:
            raise RedisConnectionError("cut")
        self._listeners.append(await self._client.listener(heard))
        return self._listeners[-1]

    async def drop(self):
        self.cut = True
        await self.drop_listeners()

    async def drop_listeners(self):
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()

    async def close(self):
        await self._client.close()
