"""Who may do what: one table of roles and permissions."""

from enum import StrEnum


class Role(StrEnum):
    """A member's role in a workspace, weakest first."""

    VIEWER = "viewer"
    MEMBER = "member"
    MODERATOR = "moderator"
    ADMIN = "admin"
    OWNER = "owner"


class Permission(StrEnum):
    """What a route asks for."""

    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    DISCUSSIONS_READ = "discussions:read"
    DISCUSSIONS_WRITE = "discussions:write"  # create, and run one's own
    DISCUSSIONS_CONTROL = "discussions:control"  # run anybody's
    KNOWLEDGE_READ = "knowledge:read"
    KNOWLEDGE_WRITE = "knowledge:write"
    MODELS_USE = "models:use"


_VIEWER = frozenset({Permission.AGENTS_READ, Permission.DISCUSSIONS_READ, Permission.KNOWLEDGE_READ})
_MEMBER = _VIEWER | {
    Permission.AGENTS_WRITE,
    Permission.DISCUSSIONS_WRITE,
    Permission.KNOWLEDGE_WRITE,
    Permission.MODELS_USE,
}
_MODERATOR = _MEMBER | {Permission.DISCUSSIONS_CONTROL}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.MEMBER: _MEMBER,
    Role.MODERATOR: _MODERATOR,
    Role.ADMIN: _MODERATOR,
    Role.OWNER: _MODERATOR,
}


def allows(role: Role, permission: Permission) -> bool:
    return permission in GRANTS[role]
