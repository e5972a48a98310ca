"""What agents remember of discussions, and what is left of a long one's beginning."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ARRAY, ForeignKey, Index, Integer
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, deferred, mapped_column

from app.models.base import Base, Identified, Owned, Scoped, Timestamped


class Memory(Identified, Timestamped, Owned, Base):
    """A fact that one agent keeps; `source` is `discussion` or `manual`, `importance` is 0 to 1.

    `created_by` is whoever wrote it or reworded it last; null: it is worded as it was distilled. `recalled_at` is when
    it last entered a prompt.
    """

    __tablename__ = "memories"
    __table_args__ = (
        Index("ix_memories_workspace_id_agent_id_id", "workspace_id", "agent_id", "id"),
        Index("ix_memories_agent_id", "agent_id"),
    )

    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    content: Mapped[str]
    importance: Mapped[float]
    source: Mapped[str]
    embedding_model: Mapped[str | None]
    embedding: Mapped[Any | None] = deferred(mapped_column(HALFVEC))
    recalled_at: Mapped[datetime | None]
    recall_count: Mapped[int] = mapped_column(server_default=sql("0"))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class MemorySource(Scoped, Base):
    """A discussion that a memory was heard in: `seqs` are the places in its log of the messages that say so."""

    __tablename__ = "memory_sources"
    __table_args__ = (Index("ix_memory_sources_discussion_id", "discussion_id"),)

    memory_id: Mapped[UUID] = mapped_column(ForeignKey("memories.id", ondelete="CASCADE"), primary_key=True)
    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    seqs: Mapped[list[int]] = mapped_column(ARRAY(Integer))


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
