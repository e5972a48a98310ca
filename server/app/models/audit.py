"""The audit log: who did what, from where. A trigger of the database keeps rows from being changed or deleted."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified


class AuditEvent(Identified, Base):
    """One deed. No foreign keys: it outlives the user and the workspace that it names."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_workspace_id_id", "workspace_id", "id"),
        Index("ix_audit_events_user_id_id", "user_id", "id"),
    )

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    action: Mapped[str]
    outcome: Mapped[str]
    user_id: Mapped[UUID | None]
    credential_id: Mapped[UUID | None]
    workspace_id: Mapped[UUID | None]
    target_type: Mapped[str | None]
    target_id: Mapped[UUID | None]
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
