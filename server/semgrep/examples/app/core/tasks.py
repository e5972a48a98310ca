import asyncio
from datetime import UTC, datetime


async def forget():
    asyncio.create_task(work())  # found: a-task-is-kept
    asyncio.ensure_future(work())  # found: a-task-is-kept


async def keep(kept):
    task = asyncio.create_task(work())  # passed: a-task-is-kept
    kept.add(asyncio.create_task(work()))  # passed: a-task-is-kept
    async with asyncio.TaskGroup() as group:
        group.create_task(work())  # passed: a-task-is-kept
    await task


def moments(seconds):
    now = datetime.now()  # found: a-moment-has-its-zone
    then = datetime.fromtimestamp(seconds)  # found: a-moment-has-its-zone
    before = datetime.utcnow()  # found: a-moment-has-its-zone
    sound = datetime.now(UTC), datetime.fromtimestamp(seconds, UTC)  # passed: a-moment-has-its-zone
    return now, then, before, sound
