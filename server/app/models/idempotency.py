"""Requests that carry an `Idempotency-Key`: what was answered, or who is at it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class IdempotentRequest(Base):
    """A key that somebody used; without `status` its request still runs, or was cut.

    `claim` fences: only who holds the newest one may commit what the request does. `fingerprint` is that of method,
    address, workspace and body; `body_sealed` is the answer, which may hold secrets.
    """

    __tablename__ = "idempotent_requests"

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    claim: Mapped[UUID]
    claimed_until: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
