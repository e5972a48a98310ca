"""Providers of language models, and servers of tools."""

from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Timestamped


class Provider(Identified, Timestamped, Owned, Base):
    """Where a workspace's own models are; its key is kept sealed and never shown."""

    __tablename__ = "providers"
    __table_args__ = (Index("uq_providers_workspace_id_name", "workspace_id", "name", unique=True),)

    name: Mapped[str]
    kind: Mapped[str]
    base_url: Mapped[str | None]
    api_key_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class ToolServer(Identified, Timestamped, Owned, Base):
    """A server of tools (Model Context Protocol): at a `url`, or as a `command` that the administrator allows."""

    __tablename__ = "tool_servers"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    name: Mapped[str]
    transport: Mapped[str]
    url: Mapped[str | None]
    token_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    command: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
