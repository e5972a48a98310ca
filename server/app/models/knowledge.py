"""Knowledge bases and their documents."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Timestamped


class KnowledgeBase(Identified, Timestamped, Owned, Base):
    """A named collection of documents."""

    __tablename__ = "knowledge_bases"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    name: Mapped[str]
    description: Mapped[str | None]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class Document(Identified, Timestamped, Owned, Base):
    """A document and its text, whole."""

    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_base_id_id", "base_id", "id"),)

    base_id: Mapped[UUID] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"))
    title: Mapped[str]
    text: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int]
    status: Mapped[str]
    progress: Mapped[float]
    error: Mapped[str | None]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
