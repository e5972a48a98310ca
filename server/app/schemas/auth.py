"""Wire types of accounts."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, EmailStr, Field, StringConstraints

from app.domain.permissions import Role
from app.schemas.base import Line, Moment, Read, Request, Text

Password = Annotated[Text, StringConstraints(min_length=12, max_length=128)]
Email = Annotated[EmailStr, StringConstraints(max_length=254), AfterValidator(str.lower)]


class Register(Request):
    """A new account."""

    email: Email
    password: Password
    display_name: Line


class WorkspaceMembership(Read):
    """A workspace of the caller, and the caller's role in it."""

    id: UUID
    name: str
    role: Role


class UserRead(Read):
    """The caller's account."""

    id: UUID
    email: str
    display_name: str
    is_superuser: bool
    created_at: Moment
    workspaces: list[WorkspaceMembership]


class TokenPair(Read):
    """RFC 6749, section 5.1. The refresh token is good once; using an old one ends the session."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds the access token is good for.")
    refresh_token: str
    scope: str


class SocketTicket(Read):
    """Opens one WebSocket: `?ticket=`."""

    ticket: str
    expires_in: int = Field(description="Seconds the ticket is good for.")


class StreamToken(Read):
    """Opens live streams and nothing else: `?stream_token=`, for clients that cannot set headers."""

    token: str
    expires_in: int = Field(description="Seconds the token is good for.")
