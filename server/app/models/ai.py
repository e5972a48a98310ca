"""Providers of language models."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary
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
