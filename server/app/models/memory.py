"""What agents remember of discussions, and what is left of a long one's beginning."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ARRAY, ForeignKey, Index, Integer
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Scoped, Timestamped


class Memory(Identified, Timestamped, Owned, Base):
    """A fact that one agent keeps; `source` is `discussion` or `manual`.

    `source_seqs` are the places in the discussion's log of the messages that it was taken from. `importance` is 0 to 1.
    """

    __tablename__ = "memories"
    __table_args__ = (
        Index("ix_memories_workspace_id_agent_id_id", "workspace_id", "agent_id", "id"),
        Index("ix_memories_agent_id", "agent_id"),
        Index("ix_memories_discussion_id", "discussion_id", postgresql_where=sql("discussion_id IS NOT NULL")),
    )

    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    content: Mapped[str]
    importance: Mapped[float]
    source: Mapped[str]
    discussion_id: Mapped[UUID | None] = mapped_column(ForeignKey("discussions.id", ondelete="SET NULL"))
    source_seqs: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    embedding_model: Mapped[str | None]
    embedding: Mapped[Any | None] = mapped_column(HALFVEC)
    recalled_at: Mapped[datetime | None]
    recall_count: Mapped[int] = mapped_column(server_default=sql("0"))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class Distillation(Owned, Base):
    """Up to where a discussion's log was distilled for an agent: what was is not distilled again."""

    __tablename__ = "distillations"
    __table_args__ = (Index("ix_distillations_agent_id", "agent_id"),)

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True)
    through_seq: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=sql("now()"))


class DiscussionSummary(Scoped, Base):
    """What was said to everybody in a discussion up to `through_seq` of its log, in short."""

    __tablename__ = "discussion_summaries"

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    text: Mapped[str]
    through_seq: Mapped[int]
    model: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=sql("now()"))
