"""What the audit log tells: deeds that matter to whoever has to answer for an installation. Without I/O."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Action(StrEnum):
    """What was done; the part before the dot is what it was done to."""

    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    SESSION_ENDED = "session.ended"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - a deed, no password
    PASSWORD_RESET = "password.reset"  # noqa: S105 - the same
    TOTP_ENABLED = "totp.enabled"
    TOTP_DISABLED = "totp.disabled"
    RECOVERY_CODES_RENEWED = "recovery_codes.renewed"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_PROMOTED = "user.promoted"
    USER_DEMOTED = "user.demoted"
    WORKSPACE_CREATED = "workspace.created"
    WORKSPACE_CHANGED = "workspace.changed"
    WORKSPACE_DELETED = "workspace.deleted"
    ROLE_GRANTED = "role.granted"
    ROLE_CHANGED = "role.changed"
    ROLE_REVOKED = "role.revoked"
    AGENT_DELETED = "agent.deleted"
    AGENT_FORGOT_ALL = "agent.forgot_all"
    MEMORY_FORGOTTEN = "memory.forgotten"
    BASE_DELETED = "base.deleted"
    DOCUMENT_DELETED = "document.deleted"
    EXTRACTION_DELETED = "extraction.deleted"
    DISCUSSION_CREATED = "discussion.created"
    DISCUSSION_FORKED = "discussion.forked"
    DISCUSSION_STARTED = "discussion.started"
    DISCUSSION_PAUSED = "discussion.paused"
    DISCUSSION_RESUMED = "discussion.resumed"
    DISCUSSION_INTERRUPTED = "discussion.interrupted"
    DISCUSSION_STOPPED = "discussion.stopped"
    DISCUSSION_DELETED = "discussion.deleted"
    PROVIDER_CREATED = "provider.created"
    PROVIDER_CHANGED = "provider.changed"
    PROVIDER_DELETED = "provider.deleted"
    TOOL_SERVER_CREATED = "tool_server.created"
    TOOL_SERVER_CHANGED = "tool_server.changed"
    TOOL_SERVER_DELETED = "tool_server.deleted"
    KEYS_ROTATED = "keys.rotated"
    KEYS_RESEALED = "keys.resealed"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_PRUNED = "audit.pruned"

    @property
    def target_type(self) -> str:
        """What the target's id names."""
        prefix = self.partition(".")[0]
        return _TARGETS.get(prefix, prefix)


_TARGETS = {
    "login": "session",
    **dict.fromkeys(("password", "totp", "recovery_codes", "identity", "role"), "user"),
}


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"


Detail = str | int | bool | list[str] | None
"""What a deed is told with: names of fields, roles, counts. Never what people wrote, and nothing secret."""


class Doer(Protocol):
    """Who did it, by which session or API key, and in which workspace."""

    @property
    def user_id(self) -> UUID | None: ...

    @property
    def credential_id(self) -> UUID | None: ...

    @property
    def workspace_id(self) -> UUID | None: ...


@dataclass(frozen=True, slots=True)
class By:
    """A doer in so many words; without `user_id` an operator on the server itself, or somebody unknown."""

    user_id: UUID | None = None
    credential_id: UUID | None = None
    workspace_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which deeds are asked for, those of `since` included and those of `until` not."""

    action: Action | None = None
    user_id: UUID | None = None
    workspace_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
