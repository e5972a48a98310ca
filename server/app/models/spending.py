"""What users and workspaces have spent today, and what their running turns may still spend."""

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Scoped


class DailySpending(Base):
    """Tokens and dollars of one user or workspace on one day (UTC, database clock); kept while such limits are set."""

    __tablename__ = "daily_spending"

    scope: Mapped[str] = mapped_column(primary_key=True)
    scope_id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(16, 8), server_default=text("0"))


class Reservation(Scoped, Base):
    """The worst case of the turn that a discussion is about to take or takes; at most one a discussion."""

    __tablename__ = "reservations"
    __table_args__ = (
        Index("ix_reservations_workspace_id", "workspace_id"),
        Index("ix_reservations_user_id", "user_id"),
    )

    discussion_id: Mapped[UUID] = mapped_column(ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID | None]
    day: Mapped[date]
    tokens: Mapped[int] = mapped_column(BigInteger)
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(16, 8))
