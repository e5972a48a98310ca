"""Agents and their versions: every change of an agent is a new version, and discussions pin one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Timestamped


class Agent(Identified, Timestamped, Owned, Base):
    """An agent as it is now; a deleted one keeps its row for the discussions that pinned it."""

    __tablename__ = "agents"
    __table_args__ = (
        Index(
            "uq_agents_workspace_id_handle",
            "workspace_id",
            "handle",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_agents_workspace_id_id", "workspace_id", "id", postgresql_where=text("deleted_at IS NULL")),
    )

    handle: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    config: Mapped[dict[str, Any]]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    deleted_at: Mapped[datetime | None]


class AgentVersion(Owned, Base):
    """An agent as it was at one version."""

    __tablename__ = "agent_versions"

    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    handle: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    config: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
