"""What comes to an agent's mind when it is about to speak.

That a memory came to mind is noted in passing and written now and then, many at once: no turn waits for it, and a
process that is killed forgets the last seconds of it, which is no harm.
"""

import asyncio
from collections import defaultdict
from uuid import UUID

import structlog

from app.core.errors import Unavailable
from app.domain.memories import Recollection, first_to_mind
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.memory.directions import directions_of
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

WRITE_SECONDS = 1.0


class Recall:
    """One per process; `run` writes what `recall` has noted."""

    def __init__(self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog) -> None:
        self._uow = uow
        self._embeddings = embeddings
        self._recalled: defaultdict[UUID, set[UUID]] = defaultdict(set)

    async def recall(self, workspace_id: UUID, agent_id: UUID, about: str, k: int) -> list[Recollection]:
        """The `k` memories of the agent that come to mind first; none of another's, of another workspace, or forgotten.

        Raise `Unavailable` or a `ModelError`.
        """
        [direction] = await directions_of(self._embeddings, workspace_id, [about])
        async with self._uow.reading(workspace_id) as work:
            first = first_to_mind(await work.memories.traces(agent_id, direction), work.now(), k)
            found = await work.memories.recollections(agent_id, [trace.memory_id for trace, _ in first])
        if found:
            self._recalled[workspace_id].update(one.memory_id for one in found)
        return found

    async def run(self) -> None:
        """Write again and again until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what came to mind; what cannot be written is forgotten."""
        recalled, self._recalled = self._recalled, defaultdict(set)
        for workspace_id, memory_ids in recalled.items():
            try:
                async with self._uow(workspace_id) as work:
                    await work.memories.touch(memory_ids)
            except Unavailable as error:
                log.warning("recall_not_written", reason=error.code)
