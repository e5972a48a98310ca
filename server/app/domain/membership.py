"""Who may give and take roles. Without I/O."""

from app.core.errors import Conflict, Forbidden
from app.domain.permissions import Role

_RANKS = {role: rank for rank, role in enumerate(Role)}


class RoleAboveOwn(Forbidden):
    """Nobody gives, changes or takes a role above their own."""

    code = "role_above_own"


class LastOwner(Conflict):
    """A workspace is never without an owner."""

    code = "last_owner"


class PersonalWorkspace(Conflict):
    """A personal workspace stays, and stays its person's."""

    code = "personal_workspace"


def check_step(own: Role, before: Role | None, after: Role | None) -> None:
    """Raise `RoleAboveOwn` unless somebody of that role may make this step of another's; None is no member."""
    for role in (before, after):
        if role is not None and _RANKS[role] > _RANKS[own]:
            raise RoleAboveOwn(f"your role in this workspace ({own}) does not reach up to {role}")


def check_stays_owned(before: Role | None, after: Role | None, owners: int) -> None:
    """Raise `LastOwner` if the step leaves nobody of so many `owners`."""
    if before == Role.OWNER and after != Role.OWNER and owners <= 1:
        raise LastOwner("a workspace needs an owner; make somebody else one first")
