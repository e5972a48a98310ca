"""Wire types of the installation's administration."""

from typing import Any
from uuid import UUID

from pydantic import Field, model_validator

from app.schemas.base import Line, Moment, Read, Request


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


class AccountUpdate(Request):
    """Only the fields given change. Disabling ends the account's sessions and API keys for good."""

    is_disabled: bool | None = None
    is_superuser: bool | None = None
    display_name: Line | None = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_null(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for name, value in data.items():
                if value is None:
                    raise ValueError(f"{name} must not be null; leave it out to keep it")
        return data
