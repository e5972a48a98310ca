"""Wire types of accounts."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, EmailStr, Field, StringConstraints

from app.domain.permissions import Role
from app.schemas.base import Change, Line, Moment, Read, Request, Text

Password = Annotated[Text, StringConstraints(min_length=12, max_length=128)]
KnownPassword = Annotated[Text, StringConstraints(min_length=1, max_length=1_000)]
"""The present password, of whatever rules it was made by."""
Code = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
"""Of an authenticator, or a recovery code."""
ResetToken = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
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


class ProfileUpdate(Change):
    """Only the fields given change; `password`, the present one, is needed to change the address."""

    display_name: Line | None = None
    email: Email | None = None
    password: KnownPassword | None = None


class PasswordChange(Request):
    """The present password, and the one to be."""

    password: KnownPassword
    new_password: Password


class PasswordResetRequest(Request):
    """Whose password was forgotten."""

    email: Email


class PasswordResetRequested(Read):
    """The same for every address."""

    detail: str = "if there is an account with this address, a mail is on its way to it"


class PasswordReset(Request):
    """The token of the mail, and the password to be."""

    token: ResetToken
    new_password: Password


class SessionRead(Read):
    """A login that is alive: by which device and from which address it was last refreshed or begun."""

    id: UUID
    device: str | None = Field(description="The `User-Agent`, on one line.")
    address: str | None
    created_at: Moment
    last_seen_at: Moment = Field(description="To the minute.")
    expires_at: Moment
    is_current: bool


class TotpBegin(Request):
    """The present password."""

    password: KnownPassword


class TotpSecret(Read):
    """Shown once. `uri` is what authenticators read from a QR code."""

    secret: str
    uri: str


class TotpConfirm(Request):
    """A code of the authenticator that was given the secret."""

    code: Code


class TotpProof(Request):
    """The present password, and a code of the authenticator or a recovery code."""

    password: KnownPassword
    code: Code


class RecoveryCodes(Read):
    """Shown once. Each stands in for a code of the authenticator, once."""

    recovery_codes: list[str]


class SecondFactorRead(Read):
    """Whether logging in takes a code, and how many recovery codes were not used yet."""

    is_confirmed: bool
    recovery_codes_left: int
