"""Wire types of the login at an issuer of identities."""

from typing import Annotated

from pydantic import Field, StringConstraints

from app.schemas.auth import KnownPassword
from app.schemas.base import Moment, Read, Request, Text

ReturnTo = Annotated[Text, StringConstraints(max_length=2_000)]
CHALLENGE_PATTERN = r"^[A-Za-z0-9_-]{43}$"
VERIFIER_PATTERN = r"[A-Za-z0-9._~-]{43,128}"


class OidcIssuerRead(Read):
    """An issuer at which one can log in."""

    name: str = Field(description="For a button.")
    issuer: str
    login_url: str = Field(description="Where a browser is sent to log in.")


class OidcLink(Request):
    """Where to go after linking, and the account's password, if it has one."""

    return_to: ReturnTo | None = Field(None, description="One of `ARENA_OIDC_RETURN_URLS`.")
    password: KnownPassword | None = Field(None, description="The account's; only one that has none goes without.")


class OidcLinkStarted(Read):
    """Where the browser that asked is to go on."""

    authorization_url: str
    expires_in: int = Field(description="Seconds until it is too late.")


class IdentityRead(Read):
    """Who the caller is at an issuer."""

    issuer: str
    subject: str
    created_at: Moment
