"""Files that documents were made of, where PostgreSQL keeps them, and those that no document refers to yet."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import utc_now
from app.core.errors import Unavailable
from app.models import LooseOriginal, OriginalPart
from app.repositories.base import Repository

_UNFINISHED = text("SELECT * FROM arena_unfinished_documents(:grace, :limit)")
_LOOSE = text("SELECT * FROM arena_loose_originals(:grace, :limit)")

_TIE = text(
    "DELETE FROM loose_originals WHERE workspace_id = :workspace_id AND original_id = :id AND since > '-infinity'"
    " RETURNING original_id"
)
_GIVE_UP = text(
    "UPDATE loose_originals SET since = '-infinity' WHERE workspace_id = :workspace_id AND original_id = :id"
    " RETURNING original_id"
)


class OriginalLost(Unavailable):
    """It was written so slowly that it was cleared away meanwhile."""

    code = "original_lost"


class OriginalRepository(Repository):
    """The workspace's originals."""

    async def add_parts(self, original_id: UUID, first: int, parts: Sequence[bytes]) -> None:
        """Write parts, numbered from `first`."""
        rows = [
            {"original_id": original_id, "part": first + number, "workspace_id": self._workspace_id, "data": part}
            for number, part in enumerate(parts)
        ]
        await self._session.execute(insert(OriginalPart), rows)

    async def find_part(self, original_id: UUID, part: int) -> bytes | None:
        data: bytes | None = await self._session.scalar(
            select(OriginalPart.data).where(
                OriginalPart.workspace_id == self._workspace_id,
                OriginalPart.original_id == original_id,
                OriginalPart.part == part,
            )
        )
        return data

    async def delete_parts(self, original_id: UUID) -> None:
        await self._session.execute(
            delete(OriginalPart).where(
                OriginalPart.workspace_id == self._workspace_id, OriginalPart.original_id == original_id
            )
        )

    async def delete_some_parts(self, limit: int) -> bool:
        """Some of all the workspace's; whether there were any."""
        some = select(OriginalPart.original_id, OriginalPart.part).where(
            OriginalPart.workspace_id == self._workspace_id
        )
        found = (await self._session.execute(some.limit(limit))).all()
        for original_id in {row.original_id for row in found}:
            await self.delete_parts(original_id)
        return bool(found)

    async def note_loose(self, original_id: UUID) -> None:
        """From here on it is cleared away after a while, unless it is tied."""
        self._session.add(LooseOriginal(original_id=original_id, workspace_id=self._workspace_id, since=utc_now()))
        await self._session.flush()

    async def tie(self, original_id: UUID) -> None:
        """From this transaction on a document refers to it; raise `OriginalLost` if it has been taken for left over."""
        tied = await self._session.execute(_TIE, {"workspace_id": self._workspace_id, "id": original_id})
        if tied.first() is None:
            raise OriginalLost("the file took too long to be kept; send it again")

    async def give_up(self, original_id: UUID) -> bool:
        """Let no document refer to it any more; False if one does."""
        given_up = await self._session.execute(_GIVE_UP, {"workspace_id": self._workspace_id, "id": original_id})
        return given_up.first() is not None

    async def forget_loose(self, original_id: UUID) -> None:
        """It is cleared away."""
        await self._session.execute(
            delete(LooseOriginal).where(
                LooseOriginal.workspace_id == self._workspace_id, LooseOriginal.original_id == original_id
            )
        )


class LeftOvers:
    """Across all workspaces, what a process left that died."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def originals(self, grace_seconds: float, limit: int) -> list[tuple[UUID, UUID]]:
        """(original, workspace) that no document came to refer to in that time, the oldest first."""
        rows = await self._session.execute(_LOOSE, {"grace": grace_seconds, "limit": limit})
        return [(row.id, row.workspace_id) for row in rows]

    async def documents(self, grace_seconds: float, limit: int) -> list[tuple[UUID, UUID]]:
        """(document, workspace) that are not finished, and that no job waits or works for."""
        rows = await self._session.execute(_UNFINISHED, {"grace": grace_seconds, "limit": limit})
        return [(row.id, row.workspace_id) for row in rows]
