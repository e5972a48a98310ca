"""Who belongs to a workspace, and as what."""

from datetime import timedelta
from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import RateLimited
from app.domain.audit import Action, Outcome
from app.domain.membership import PersonalWorkspace, check_stays_owned, check_step
from app.domain.permissions import Permission, Role
from app.models import User, Workspace
from app.schemas.base import Page
from app.schemas.workspace import MemberAdd, MemberRead
from app.services.callers import Actor, UserNotFound
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.workspaces import lock_workspace

# Anybody may make a workspace, and so ask whether an address has an account: not for lists of them.
MOST_UNKNOWN, UNKNOWN_SECONDS = 20, 3600.0


class TooManyUnknown(RateLimited):
    """One person named too many addresses that nobody has."""

    code = "too_many_unknown_addresses"


class MemberService:
    """Each change is made under the workspace's lock, by what the actor is at that moment."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def list_page(self, actor: Actor, limit: int, cursor: str | None) -> Page[MemberRead]:
        """The oldest accounts first."""
        async with self._uow.reading(actor.workspace_id) as work:
            rows, following = await work.workspaces.list_members(actor.workspace_id, limit, cursor)
        items = [_read(actor, row.user, row.role, is_told=row.is_address_told) for row in rows]
        return Page(items=items, next_cursor=following)

    async def put(self, actor: Actor, user_id: UUID, role: Role) -> MemberRead:
        """Make them a member, or change what they are. Whoever is added by an id alone keeps their address."""
        async with self._uow(actor.workspace_id) as work:
            workspace, own = await lock_workspace(work, actor, Permission.WORKSPACE_MANAGE)
            user = await work.accounts.find_user(user_id)
            before = await work.workspaces.find_role(workspace.id, user_id)
            if user is None or (before is None and user.disabled_at is not None):
                raise UserNotFound("there is no such user")
            await _set(work, actor, workspace, user, own, before, role)
            is_told = await work.workspaces.is_address_told(workspace.id, user_id)
        return _read(actor, user, role, is_told=is_told)

    async def add(self, actor: Actor, request: MemberAdd) -> MemberRead:
        """The same by their address. For so many addresses an hour that nobody has, it is answered; then no more."""
        async with self._uow(actor.workspace_id) as work:
            workspace, own = await lock_workspace(work, actor, Permission.WORKSPACE_MANAGE)
            check_step(own, None, request.role)
            await _check_may_ask(work, actor)
            user = await work.accounts.find_user_by_email(request.email)
            if user is None or user.disabled_at is not None:
                work.audit.record(Action.ROLE_GRANTED, actor, outcome=Outcome.FAILED, reason="unknown_address")
                user = None
            else:
                before = await work.workspaces.find_role(workspace.id, user.id)
                await _set(work, actor, workspace, user, own, before, request.role)
                await work.workspaces.tell_address(workspace.id, user.id)
        # Raised only now: that it was asked must be committed first.
        if user is None:
            raise UserNotFound("nobody here has this address; they need an account first")
        return _read(actor, user, request.role, is_told=True)

    async def remove(self, actor: Actor, user_id: UUID) -> None:
        """Take somebody's role away; whoever wants to leave may, but for the last owner."""
        async with self._uow(actor.workspace_id) as work:
            needed = None if user_id == actor.user_id else Permission.WORKSPACE_MANAGE
            workspace, own = await lock_workspace(work, actor, needed)
            before = await work.workspaces.find_role(workspace.id, user_id)
            if before is None:
                raise UserNotFound("there is no such member")
            await _check(work, workspace, user_id, own, before, None)
            await work.workspaces.remove_member(workspace.id, user_id)
            work.audit.record(Action.ROLE_REVOKED, actor, user_id, before=before)


async def _check_may_ask(work: UnitOfWork, actor: Actor) -> None:
    await work.workspaces.lock_person(actor.user_id)
    since = utc_now() - timedelta(seconds=UNKNOWN_SECONDS)
    if await work.audit.count_failed(Action.ROLE_GRANTED, actor.user_id, since) >= MOST_UNKNOWN:
        raise TooManyUnknown(
            "you named too many addresses that nobody has; try again later", retry_after_seconds=UNKNOWN_SECONDS
        )


async def _set(
    work: UnitOfWork, actor: Actor, workspace: Workspace, user: User, own: Role, before: Role | None, after: Role
) -> None:
    await _check(work, workspace, user.id, own, before, after)
    if before == after:
        return
    await work.workspaces.set_role(workspace.id, user.id, after)
    if before is None:
        work.audit.record(Action.ROLE_GRANTED, actor, user.id, role=after)
    else:
        work.audit.record(Action.ROLE_CHANGED, actor, user.id, role=after, before=before)


async def _check(
    work: UnitOfWork, workspace: Workspace, user_id: UUID, own: Role, before: Role | None, after: Role | None
) -> None:
    """Raise unless the locked workspace allows the step."""
    check_step(own, before, after)
    if before == Role.OWNER and after != Role.OWNER:
        if workspace.personal_of == user_id:
            raise PersonalWorkspace("a personal workspace stays its person's")
        check_stays_owned(before, after, await work.workspaces.count_owners(workspace.id))


def _read(actor: Actor, user: User, role: Role, *, is_told: bool) -> MemberRead:
    shows_email = actor.may(Permission.WORKSPACE_MANAGE) and (is_told or user.id == actor.user_id)
    email = user.email if shows_email else None
    return MemberRead(user_id=user.id, display_name=user.display_name, email=email, role=role)
