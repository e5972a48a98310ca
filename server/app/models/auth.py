"""Accounts: users, their workspaces, and all by which a user is known: sessions, keys, second factors, identities."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, LargeBinary, Text, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Timestamped


class User(Identified, Timestamped, Base):
    """A person; `email` is kept in lower case. Without `password_hash` they log in through a provider of identities.

    The second factor counts from `totp_confirmed_at` on; `totp_last_step` is the newest time step (RFC 6238) of which a
    code was used, since each is good once.
    """

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    password_hash: Mapped[str | None]
    is_superuser: Mapped[bool] = mapped_column(server_default=text("false"))
    disabled_at: Mapped[datetime | None]
    totp_secret_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_confirmed_at: Mapped[datetime | None]
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)


class Workspace(Identified, Timestamped, Base):
    """A tenant; `personal_of` is set on the one that each user has from the first day.

    `limits` holds what its administrators set, tighter than the installation's own (`schemas/workspace.py`).
    """

    __tablename__ = "workspaces"

    name: Mapped[str]
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    personal_of: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)


class Membership(Base):
    """A user's role in a workspace.

    `is_address_told` says that those who manage the members may see the user's address: they named it, or it is of
    whoever made the workspace. A user's id, which every colleague sees, is enough to be added, and tells nothing more.
    """

    __tablename__ = "memberships"

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str]
    is_address_told: Mapped[bool] = mapped_column(server_default=false())


class Session(Identified, Timestamped, Base):
    """A login. Only the newest refresh token of a session is good; its hash is kept, never the token.

    `scope` holds scopes separated by blanks; empty: the session may do all that its user may.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    refresh_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    refresh_number: Mapped[int] = mapped_column(server_default=text("1"))
    scope: Mapped[str] = mapped_column(server_default=text("''"))
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    device: Mapped[str | None]
    address: Mapped[str | None]
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiKey(Identified, Timestamped, Base):
    """A key by which a program acts for its user; its hash is kept, never the key. `hint` is how it begins."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_user_id_id", "user_id", "id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    hint: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """What stands in for the second factor, once each; deleted by its use. Its hash is kept, never the code."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class PasswordReset(Base):
    """The right to set a new password, once; deleted by its use. Its hash is kept, never the token."""

    __tablename__ = "password_resets"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Identity(Base):
    """Who a user is at a provider of identities (OpenID Connect)."""

    __tablename__ = "identities"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class OidcLogin(Base):
    """A login that was begun and not finished: what its answer is held against. Deleted by its use.

    `digest` is that of `state`, `browser_digest` that of what only the browser which began it holds. With `session_id`
    it is to link an identity to that session's user; `challenge` (RFC 7636) is of the frontend that it returns to.
    """

    __tablename__ = "oidc_logins"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    browser_digest: Mapped[bytes] = mapped_column(LargeBinary)
    issuer: Mapped[str]
    nonce: Mapped[str]
    verifier_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    return_to: Mapped[str | None]
    challenge: Mapped[str | None]
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class LoginCode(Base):
    """What a frontend that a login returned to trades for a session, once, within a minute. Its hash is kept.

    `challenge` is of a verifier that only the frontend holds which began the login (RFC 7636).
    """

    __tablename__ = "login_codes"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    challenge: Mapped[str]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class SigningKey(Base):
    """A key of access tokens (Ed25519): published as long as it is here, used for signing until a newer one is active.

    `kid` is its thumbprint (RFC 7638), `public_key` its 32 bytes.
    """

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    private_key_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    active_from: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class SocketTicket(Base):
    """What opens one WebSocket, within seconds; deleted by its use. Its hash is kept, never the ticket.

    `credential_id` names the session or the API key that asked for it.
    """

    __tablename__ = "socket_tickets"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    credential_id: Mapped[UUID]
    expires_at: Mapped[datetime] = mapped_column(index=True)
