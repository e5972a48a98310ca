"""The job that clears away what a deleted workspace held."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import CHORES_QUEUE, CLEAR_TASK
from app.services.workspace_clearing import WorkspaceClearing

# A database that is away comes back; until then the content is nobody's to see.
RETRIES = procrastinate.RetryStrategy(max_attempts=1000, wait=5)


def register(queue: procrastinate.App, clearing: WorkspaceClearing) -> None:
    """Teach the worker's queue to clear workspaces away."""

    @queue.task(name=CLEAR_TASK, queue=CHORES_QUEUE, retry=RETRIES)
    async def clear_workspace(workspace_id: str) -> None:
        await clearing.clear(UUID(workspace_id))
