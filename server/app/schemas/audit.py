"""Wire types of the audit log."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import Field

from app.schemas.base import Moment, Read


class AuditEventRead(Read):
    """One deed: who did what, to what, from where."""

    id: UUID
    created_at: Moment
    action: str = Field(examples=["role.changed"])
    outcome: str = Field(description="`succeeded` or `failed`.")
    user_id: UUID | None = Field(description="Who did it; null: an operator on the server, or somebody unknown.")
    credential_id: UUID | None = Field(description="The session or API key that it was done by.")
    workspace_id: UUID | None
    target_type: str | None
    target_id: UUID | None
    address: str | None = Field(description="Where the request came from.")
    request_id: str | None
    detail: dict[str, Any]


class ExportFormat(StrEnum):
    """A line of JSON for each deed, or a table for spreadsheets."""

    NDJSON = "ndjson"
    CSV = "csv"
