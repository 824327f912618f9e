import asyncio
import contextlib

from signalling.redis.tasks import end


async def test_tasks_end_whatever_swallows_their_cancellation():
    swallowed = []

    async def stubborn():
        while len(swallowed) < 3:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            swallowed.append(True)

    async def fails():
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("instead")

    tasks = [asyncio.create_task(work) for work in (stubborn(), fails(), asyncio.sleep(0))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(tasks)
        await end([])
    assert all(task.done() for task in tasks)
    assert len(swallowed) == 3
