"""The job that drives a discussion."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import DRIVE_TASK, TURNS_QUEUE
from app.services.turns.driver import TurnDriver


def register(queue: procrastinate.App, driver: TurnDriver) -> None:
    """Teach the worker's queue to drive discussions."""

    @queue.task(name=DRIVE_TASK, queue=TURNS_QUEUE)
    async def drive_discussion(discussion_id: str) -> None:
        await driver.drive(UUID(discussion_id))
