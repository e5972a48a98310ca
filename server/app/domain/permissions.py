"""Who may do what: one table of roles and permissions.

A caller may do what their role in the workspace grants and, where their credential (an API key, or a session that asked
for less) has scopes, what is among those, too: a credential never allows more than its owner may do at that moment.
"""

from collections.abc import Collection
from enum import StrEnum


class Role(StrEnum):
    """A member's role in a workspace, weakest first."""

    VIEWER = "viewer"
    MEMBER = "member"
    MODERATOR = "moderator"
    ADMIN = "admin"
    OWNER = "owner"


class Permission(StrEnum):
    """What a route asks for, and what the scopes of a credential are made of."""

    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    DISCUSSIONS_READ = "discussions:read"
    DISCUSSIONS_WRITE = "discussions:write"  # create, and run one's own
    DISCUSSIONS_CONTROL = "discussions:control"  # run anybody's
    KNOWLEDGE_READ = "knowledge:read"
    KNOWLEDGE_WRITE = "knowledge:write"
    MODELS_USE = "models:use"
    WORKSPACE_READ = "workspace:read"  # its name and its members
    WORKSPACE_MANAGE = "workspace:manage"  # members, name, limits
    WORKSPACE_DELETE = "workspace:delete"
    PROVIDERS_MANAGE = "providers:manage"  # keys of model providers
    AUDIT_READ = "audit:read"

    WORKSPACES_CREATE = "workspaces:create"
    ACCOUNT_MANAGE = "account:manage"  # password, second factor, sessions, API keys
    INSTALLATION_MANAGE = "installation:manage"  # all accounts, the whole audit log


_VIEWER = frozenset(
    {Permission.AGENTS_READ, Permission.DISCUSSIONS_READ, Permission.KNOWLEDGE_READ, Permission.WORKSPACE_READ}
)
_MEMBER = _VIEWER | {
    Permission.AGENTS_WRITE,
    Permission.DISCUSSIONS_WRITE,
    Permission.KNOWLEDGE_WRITE,
    Permission.MODELS_USE,
}
_MODERATOR = _MEMBER | {Permission.DISCUSSIONS_CONTROL}
_ADMIN = _MODERATOR | {Permission.WORKSPACE_MANAGE, Permission.PROVIDERS_MANAGE, Permission.AUDIT_READ}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.MEMBER: _MEMBER,
    Role.MODERATOR: _MODERATOR,
    Role.ADMIN: _ADMIN,
    Role.OWNER: _ADMIN | {Permission.WORKSPACE_DELETE},
}
"""What a role allows in its workspace."""
OF_EVERYBODY = frozenset({Permission.WORKSPACES_CREATE, Permission.ACCOUNT_MANAGE})
"""What every account may do, outside any workspace."""
OF_SUPERUSERS = frozenset({Permission.INSTALLATION_MANAGE})
SCOPES = frozenset(Permission) - {Permission.ACCOUNT_MANAGE}
"""What the scopes of a credential may name: a key that could make keys would be no narrower than its owner."""

Scopes = frozenset[Permission] | None
"""What a credential is limited to; None: to nothing but its owner's rights."""


def allows(role: Role, permission: Permission) -> bool:
    return permission in GRANTS[role]


def is_within(scopes: Scopes, permission: Permission) -> bool:
    """Whether a credential with these scopes may be used for it, if its owner may."""
    return scopes is None or permission in scopes


def allows_outside_workspaces(permission: Permission, *, is_superuser: bool) -> bool:
    """Whether an account may do it, whatever its roles are."""
    return permission in OF_EVERYBODY or (is_superuser and permission in OF_SUPERUSERS)


def parse_scopes(names: Collection[str]) -> frozenset[Permission]:
    """The scopes as they were kept; one of another release allows nothing here."""
    return frozenset(Permission(name) for name in names if name in SCOPES)
