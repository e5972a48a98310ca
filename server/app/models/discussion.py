"""Discussions and who sits at the table."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, Numeric, Text, UniqueConstraint, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Scoped, Timestamped


class Discussion(Identified, Timestamped, Owned, Base):
    """A discussion's present state.

    `version` counts edits, `last_seq` the events of its log. The claim of the driver is `epoch` (grows with every
    claim and every command that fences the driver off), `lease_owner` and `lease_until` (database clock).
    The open turn is `turn_message_id` and `turn_attempt`; `turn_epoch` is the claim that runs the attempt, 0 if none
    has begun it. While somebody outside has the floor, `floor_id` names this giving of it and `deadline_at` (database
    clock) ends it. `wrap_up` is the limit that the open turn is the last one for.
    """

    __tablename__ = "discussions"
    __table_args__ = (
        Index("ix_discussions_workspace_id_id", "workspace_id", "id"),
        Index("ix_discussions_running", "id", postgresql_where=text("status = 'running'")),
        Index("ix_discussions_deadline_at", "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")),
        Index("ix_discussions_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    topic: Mapped[str]
    title: Mapped[str | None]
    instructions: Mapped[str | None]
    document_ids: Mapped[list[UUID]] = mapped_column(ARRAY(postgresql.UUID(as_uuid=True)))
    turn_policy: Mapped[dict[str, Any]]
    limits: Mapped[dict[str, Any]]
    stop_when: Mapped[list[Any]]
    priority: Mapped[str]
    seed: Mapped[int | None] = mapped_column(BigInteger)
    on_turn_failure: Mapped[str] = mapped_column(server_default=text("'pause'"))
    waiting: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("discussions.id", ondelete="SET NULL"))
    parent_seq: Mapped[int | None]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))

    status: Mapped[str]
    end_reason: Mapped[str | None]
    turn: Mapped[int] = mapped_column(server_default=text("0"))
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    speaker_id: Mapped[UUID | None]
    speaker_reason: Mapped[str | None]
    last_speaker_id: Mapped[UUID | None]
    policy_state: Mapped[dict[str, Any] | None]
    pause_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    floor_id: Mapped[UUID | None]
    deadline_at: Mapped[datetime | None]
    wrap_up: Mapped[str | None]
    warned: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    failed_in_a_row: Mapped[int] = mapped_column(server_default=text("0"))
    started_at: Mapped[datetime | None]
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    completion_tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(16, 8), server_default=text("0"))

    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    turn_message_id: Mapped[UUID | None]
    turn_attempt: Mapped[int] = mapped_column(server_default=text("0"))
    turn_epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class Participant(Identified, Scoped, Base):
    """A seat, with the agent's version pinned and its handle and name as they were.

    A participant who left keeps the row, with `left_at`, for what it said. `stands_in_for` is the seat whose turns
    this one takes when nobody answers there; `joined_turn` the turn count when it sat down; `model` is asked instead of
    the agent's own.
    """

    __tablename__ = "participants"
    __table_args__ = (UniqueConstraint("discussion_id", "handle"), UniqueConstraint("discussion_id", "position"))

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"))
    position: Mapped[int]
    kind: Mapped[str]
    role: Mapped[str]
    handle: Mapped[str]
    name: Mapped[str]
    agent_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id", ondelete="SET NULL"))
    agent_version: Mapped[int | None]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    joined_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    joined_turn: Mapped[int] = mapped_column(server_default=text("0"))
    left_at: Mapped[datetime | None]
    stands_in_for: Mapped[UUID | None]
    model: Mapped[str | None]
