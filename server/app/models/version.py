"""When each kind of a workspace's things was last changed."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class ResourceVersion(Base):
    """`stamp` is another after every transaction that changes a thing of that kind.

    No number that grows: in a database that was set back to a backup it would come to the same ones again, for other
    things, while a cache still knows the first.
    """

    __tablename__ = "resource_versions"

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    stamp: Mapped[UUID]
