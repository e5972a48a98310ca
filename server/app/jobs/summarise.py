"""The job that makes or extends a discussion's running summary."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import ASSISTANT_QUEUE, SUMMARISE_TASK
from app.services.memory.summaries import Summaries, Summarising

# Of a try that broke on our side, such as by a database that is away; what the model does is not counted here.
RETRIES = procrastinate.RetryStrategy(max_attempts=100, wait=5)


def register(queue: procrastinate.App, summaries: Summaries) -> None:
    """Teach the worker's queue to summarise discussions."""

    @queue.task(name=SUMMARISE_TASK, queue=ASSISTANT_QUEUE, retry=RETRIES)
    async def summarise_discussion(
        workspace_id: str, discussion_id: str, least_tokens: int = 0, attempt: int = 1
    ) -> None:
        await summaries.extend(Summarising(UUID(workspace_id), UUID(discussion_id), least_tokens, attempt))
