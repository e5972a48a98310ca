"""The accounts of the installation, for who administers it."""

from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import Conflict, Forbidden
from app.domain.audit import Action, By
from app.models import User
from app.schemas.admin import AccountRead, AccountUpdate
from app.schemas.base import Page
from app.services.callers import CurrentUser, UserNotFound
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class LastSuperuser(Conflict):
    """An installation is never without somebody who administers it."""

    code = "last_superuser"


class OwnAccount(Conflict):
    """Nobody locks themselves out."""

    code = "own_account"


class AdministrationService:
    """Every change is made while nobody else becomes or ceases to be a superuser."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def list_page(self, words: str | None, limit: int, cursor: str | None) -> Page[AccountRead]:
        """Newest first; `words` are looked for in addresses and names."""
        async with self._uow.reading() as work:
            rows, following = await work.users.list_page(words, limit, cursor)
        return Page(items=[read_account(row) for row in rows], next_cursor=following)

    async def update(self, user: CurrentUser, user_id: UUID, request: AccountUpdate) -> AccountRead:
        """Change an account by field, as somebody who administers at this very moment."""
        async with self._uow() as work:
            superusers = await work.users.lock_superusers()
            if user.user.id not in superusers:
                raise Forbidden("only who administers the installation may do this")
            if request.is_disabled and user_id == user.user.id:
                raise OwnAccount("you cannot disable your own account; let somebody else who administers do it")
            account = await _change(work, By(user.user.id, user.credential_id), user_id, request, superusers)
        return read_account(account)

    async def update_as_operator(self, email: str, request: AccountUpdate) -> AccountRead:
        """The same by somebody on the server itself, who needs no account."""
        async with self._uow() as work:
            superusers = await work.users.lock_superusers()
            found = await work.accounts.find_user_by_email(email.strip().lower())
            if found is None:
                raise UserNotFound(f"there is no account with the address {email}")
            account = await _change(work, By(), found.id, request, superusers)
        return read_account(account)


async def _change(work: UnitOfWork, by: By, user_id: UUID, request: AccountUpdate, superusers: set[UUID]) -> User:
    account = await work.users.find_for_update(user_id)
    if account is None:
        raise UserNotFound("there is no such user")
    if (request.is_disabled or request.is_superuser is False) and superusers == {user_id}:
        raise LastSuperuser("somebody has to administer this installation; make somebody else a superuser first")
    if request.display_name is not None and request.display_name != account.display_name:
        account.display_name = request.display_name
        work.audit.record(Action.USER_CHANGED, by, user_id, fields=["display_name"])
    if request.is_superuser is not None and request.is_superuser != account.is_superuser:
        account.is_superuser = request.is_superuser
        work.audit.record(Action.USER_PROMOTED if request.is_superuser else Action.USER_DEMOTED, by, user_id)
    if request.is_disabled is not None:
        await _enable_or_disable(work, by, account, is_disabled=request.is_disabled)
    await work.flush()
    return account


async def _enable_or_disable(work: UnitOfWork, by: By, account: User, *, is_disabled: bool) -> None:
    if is_disabled == (account.disabled_at is not None):
        return
    if is_disabled:
        account.disabled_at = utc_now()
        # Not only suspended: whoever is let in again later does not bring back what may have been stolen.
        await work.users.end_credentials(account.id, account.disabled_at)
        work.audit.record(Action.USER_DISABLED, by, account.id)
    else:
        account.disabled_at = None
        work.audit.record(Action.USER_ENABLED, by, account.id)


def read_account(user: User) -> AccountRead:
    return AccountRead(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        is_superuser=user.is_superuser,
        is_disabled=user.disabled_at is not None,
        has_second_factor=user.totp_confirmed_at is not None,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
