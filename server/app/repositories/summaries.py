"""What was said in discussions, in short."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, text

from app.models import DiscussionSummary
from app.repositories.base import Repository

# What was made of an older summary than the present one, or of none while there is one, is not written.
_EXTEND = text(
    """
    INSERT INTO discussion_summaries AS s (discussion_id, workspace_id, text, through_seq, model, updated_at)
    SELECT d.id, d.workspace_id, :text, :through_seq, :model, now()
    FROM discussions d
    WHERE d.id = :discussion_id AND d.workspace_id = :workspace_id
      AND (:known_seq = 0 OR EXISTS (SELECT 1 FROM discussion_summaries o
                                     WHERE o.discussion_id = d.id AND o.through_seq = :known_seq))
    ON CONFLICT (discussion_id) DO UPDATE
        SET text = excluded.text, through_seq = excluded.through_seq, model = excluded.model, updated_at = now()
        WHERE s.through_seq = :known_seq
    RETURNING s.through_seq
    """
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was said to everybody up to `through_seq`; made by `model`."""

    text: str
    through_seq: int
    model: str


class SummaryRepository(Repository):
    """The running summaries of the workspace's discussions."""

    async def find(self, discussion_id: UUID) -> DiscussionSummary | None:
        """The summary as it is by now."""
        found: DiscussionSummary | None = await self._session.scalar(
            select(DiscussionSummary).where(
                DiscussionSummary.workspace_id == self._workspace_id,
                DiscussionSummary.discussion_id == discussion_id,
            )
        )
        return found

    async def extend(self, discussion_id: UUID, summary: Summary, known_seq: int) -> bool:
        """Write it in the place of the one up to `known_seq`, 0 if there was none; False if that is another by now."""
        values = {
            "discussion_id": discussion_id,
            "workspace_id": self._workspace_id,
            "text": summary.text,
            "through_seq": summary.through_seq,
            "model": summary.model,
            "known_seq": known_seq,
        }
        return (await self._session.execute(_EXTEND, values)).scalar_one_or_none() is not None
