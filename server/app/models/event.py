"""The append-only log of a discussion."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, ForeignKey, Index, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from app.domain.events import STATUS_CHANGES
from app.models.base import Base, Scoped


class Xid8(UserDefinedType[str]):
    """A transaction's number, which never comes again (PostgreSQL's `xid8`)."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "xid8"


ischema_names["xid8"] = Xid8


class DiscussionEvent(Scoped, Base):
    """Event `seq` of a discussion: from 1, without gaps, assigned under the discussion's row lock.

    `xid` is the transaction that wrote it, by which it is told what was committed since somebody last looked.
    `visible_to` names the participants who may see it; null: everybody.
    `payload` is kept as the text it was written (`json`, not `jsonb`), so that every reader gets the same bytes.
    """

    __tablename__ = "discussion_events"
    __table_args__ = (
        Index(
            "ix_discussion_events_status",
            "workspace_id",
            "xid",
            # nosemgrep: sql-is-not-put-together - our own constants
            postgresql_where=text(f"type IN ({', '.join(map(repr, STATUS_CHANGES))})"),
        ),
    )

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    visible_to: Mapped[list[UUID] | None] = mapped_column(ARRAY(postgresql.UUID(as_uuid=True)))
    xid: Mapped[str] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
