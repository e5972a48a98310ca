"""The job that tells an external agent that it has the floor."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import DELIVERIES_QUEUE, TELL_TASK, GivenFloor
from app.services.external_calls import ExternalCalls

# Of a try that broke on our side, such as by a database that is away; what the agent answers is not counted here.
RETRIES = procrastinate.RetryStrategy(max_attempts=10, wait=2)


def register(queue: procrastinate.App, calls: ExternalCalls) -> None:
    """Teach the worker's queue to deliver webhooks."""

    @queue.task(name=TELL_TASK, queue=DELIVERIES_QUEUE, retry=RETRIES)
    async def tell_external(workspace_id: str, discussion_id: str, floor_id: str, attempt: int) -> None:
        await calls.tell(GivenFloor(UUID(workspace_id), UUID(discussion_id), UUID(floor_id)), attempt)
