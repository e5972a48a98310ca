"""How often each kind of a workspace's things has changed."""

from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class ResourceVersion(Base):
    """Grows in every transaction that changes a thing of that kind, so that what was kept before is known to be old."""

    __tablename__ = "resource_versions"

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
