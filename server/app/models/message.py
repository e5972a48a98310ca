"""What was said, and the turns in which it was said."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, Numeric, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Scoped


class Message(Identified, Scoped, Base):
    """A message at its place in the log; `turn` is null outside the speaking order.

    `visible_to` names the participants that a whisper is for; null: everybody. `citations`, `tools` (what was called)
    and `parsed` (a reply by a schema, as the schema has it) are null where there are none.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("uq_messages_discussion_id_seq", "discussion_id", "seq", unique=True),
        Index(
            "uq_messages_discussion_id_turn",
            "discussion_id",
            "turn",
            unique=True,
            postgresql_where=text("turn IS NOT NULL"),
        ),
    )

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"))
    seq: Mapped[int]
    turn: Mapped[int | None]
    attempt: Mapped[int | None]
    participant_id: Mapped[UUID]
    handle: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    content: Mapped[str]
    status: Mapped[str]
    reply_to: Mapped[UUID | None]
    visible_to: Mapped[list[UUID] | None] = mapped_column(ARRAY(postgresql.UUID(as_uuid=True)))
    citations: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    dropped_citations: Mapped[int] = mapped_column(server_default=text("0"))
    tools: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    parsed: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    cost_usd: Mapped[Decimal | None] = mapped_column(Numeric(16, 8))
    created_at: Mapped[datetime]


class Turn(Scoped, Base):
    """How a turn went: which model, how many attempts, how long, and why it failed if it did."""

    __tablename__ = "turns"

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    turn: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    participant_id: Mapped[UUID]
    message_id: Mapped[UUID]
    outcome: Mapped[str]
    reason: Mapped[str]
    model: Mapped[str | None]
    error_code: Mapped[str | None]
    first_token_ms: Mapped[float | None]
    duration_ms: Mapped[float | None]
    finished_at: Mapped[datetime]
