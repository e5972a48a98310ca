"""Wire types of workspaces and their members."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field

from app.domain.permissions import Role
from app.schemas.auth import Email
from app.schemas.base import Change, Line, Moment, Read, Request


class WorkspaceLimits(Request):
    """What a workspace may take, tighter than the installation's own limits, which go on to count; null: no tighter.

    A discussion that runs heeds a new limit of a day within five minutes and a turn.
    """

    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    tokens_per_day: Annotated[int, Field(ge=1, le=10**15)] | None = Field(
        None, description="Of all its discussions together (UTC), counted from when any budget of a day was set."
    )
    usd_per_day: Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)] | None = None

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """As they are kept; one of another release is none here."""
        return cls(**{name: value for name, value in kept.items() if name in cls.model_fields})


class WorkspaceCreate(Request):
    """A new workspace, which whoever makes it owns."""

    name: Line


class WorkspaceUpdate(Change):
    """Only the fields given change, of `limits` too."""

    name: Line | None = None
    limits: WorkspaceLimits | None = None


class WorkspaceRead(Read):
    """A workspace, and the caller's role in it."""

    id: UUID
    name: str
    role: Role
    is_personal: bool = Field(description="Whether it is somebody's own from their first day; such a one stays.")
    limits: WorkspaceLimits
    created_at: Moment
    updated_at: Moment


class MemberRole(Request):
    """The role that a member is to have."""

    role: Role


class MemberAdd(Request):
    """Somebody who has an account, by the address they log in with."""

    email: Email
    role: Role


class MemberRead(Read):
    """Somebody who belongs to a workspace."""

    user_id: UUID
    display_name: str
    email: str | None = Field(
        description="Shown to those who manage the members, of whoever was added by it or made the workspace, "
        "until they take another."
    )
    role: Role
