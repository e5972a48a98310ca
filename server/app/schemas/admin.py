"""Wire types of the installation's administration."""

from uuid import UUID

from pydantic import Field

from app.schemas.base import Change, Line, Moment, Read


class AccountRead(Read):
    """An account as an administrator sees it."""

    id: UUID
    email: str
    display_name: str
    is_superuser: bool = Field(description="Whether it may administer the installation.")
    is_disabled: bool
    has_second_factor: bool
    created_at: Moment
    updated_at: Moment


class AccountUpdate(Change):
    """Only the fields given change. Disabling ends the account's sessions and API keys for good."""

    is_disabled: bool | None = None
    is_superuser: bool | None = None
    display_name: Line | None = None
