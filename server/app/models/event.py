"""The append-only log of a discussion."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, ForeignKey
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Scoped


class DiscussionEvent(Scoped, Base):
    """Event `seq` of a discussion: from 1, without gaps, assigned under the discussion's row lock.

    `visible_to` names the participants who may see it; null: everybody.
    `payload` is kept as the text it was written (`json`, not `jsonb`), so that every reader gets the same bytes.
    """

    __tablename__ = "discussion_events"

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    visible_to: Mapped[list[UUID] | None] = mapped_column(ARRAY(postgresql.UUID(as_uuid=True)))
