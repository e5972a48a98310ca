"""What is left of a workspace that was deleted: taken away a little at a time, each in a transaction of its own."""

from uuid import UUID

from app.services.knowledge.removal import Removal
from app.services.unit_of_work import UnitOfWorkFactory


class WorkspaceClearing:
    """May be begun any number of times for the same workspace, and cut at any moment."""

    def __init__(self, uow: UnitOfWorkFactory, removal: Removal) -> None:
        self._uow = uow
        self._removal = removal

    async def clear(self, workspace_id: UUID) -> None:
        """Until nothing is left: whatever was added in the last moment goes with the workspace's own row."""
        await self._removal.clear_files(workspace_id)
        is_cleared = False
        while not is_cleared:
            async with self._uow(workspace_id) as work:
                is_cleared = not await work.workspaces.clear_some(workspace_id)
        async with self._uow(workspace_id) as work:
            await work.workspaces.delete(workspace_id)
