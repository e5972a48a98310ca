"""Accounts: users, their workspaces, their sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Timestamped


class User(Identified, Timestamped, Base):
    """A person; `email` is kept in lower case."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    password_hash: Mapped[str]
    is_superuser: Mapped[bool] = mapped_column(server_default=text("false"))
    disabled_at: Mapped[datetime | None]


class Workspace(Identified, Timestamped, Base):
    """A tenant; `personal_of` is set on the one that each user has from the first day."""

    __tablename__ = "workspaces"

    name: Mapped[str]
    personal_of: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)


class Membership(Base):
    """A user's role in a workspace."""

    __tablename__ = "memberships"

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str]


class Session(Identified, Timestamped, Base):
    """A login. Only the newest refresh token of a session is good; its hash is kept, never the token."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    refresh_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    refresh_number: Mapped[int] = mapped_column(server_default=text("1"))
    scope: Mapped[str] = mapped_column(server_default=text("''"))
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class SocketTicket(Base):
    """What opens one WebSocket, within seconds; deleted by its use. Its hash is kept, never the ticket."""

    __tablename__ = "socket_tickets"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
