"""The job that lets an agent remember a discussion that has ended."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import ASSISTANT_QUEUE, REMEMBER_TASK
from app.services.memory.distilling import Distilling, Remembering

# Of a try that broke on our side, such as by a database that is away; what the model does is not counted here.
RETRIES = procrastinate.RetryStrategy(max_attempts=100, wait=5)


def register(queue: procrastinate.App, distilling: Distilling) -> None:
    """Teach the worker's queue to distil discussions."""

    @queue.task(name=REMEMBER_TASK, queue=ASSISTANT_QUEUE, retry=RETRIES)
    async def remember_discussion(workspace_id: str, discussion_id: str, agent_id: str, attempt: int = 1) -> None:
        await distilling.distil(Remembering(UUID(workspace_id), UUID(discussion_id), UUID(agent_id), attempt))
