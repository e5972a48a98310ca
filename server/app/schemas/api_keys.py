"""Wire types of API keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.schemas.base import Instant, Line, Moment, Read, Request, Text

_FURTHEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=365)


def _within_the_calendar(moment: datetime) -> datetime:
    # At the end of time another zone's clock may show a year that cannot be written.
    if moment > _FURTHEST:
        raise ValueError("must be before the year 9999; leave it out for a key that does not expire")
    return moment


Scope = Annotated[Text, StringConstraints(min_length=1, max_length=64)]


class ApiKeyCreate(Request):
    """A new key: what it may do, which is never more than its owner may."""

    name: Line
    scopes: list[Scope] = Field(min_length=1, max_length=50, description="As `x-permission` of the routes names them.")
    expires_at: Annotated[Instant, AfterValidator(_within_the_calendar)] | None = Field(
        None, description="In the future; null: the key is good until it is revoked."
    )


class ApiKeyRead(Read):
    """A key, but for the key itself."""

    id: UUID
    name: str
    hint: str = Field(description="How the key begins.")
    scopes: list[str]
    created_at: Moment
    last_used_at: Moment | None = Field(description="To the minute.")
    expires_at: Moment | None


class ApiKeyCreated(ApiKeyRead):
    """A key that was just made, with the key itself: it is shown this once."""

    key: str = Field(description="A bearer token.")
