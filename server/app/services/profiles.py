"""What a user changes of their own account besides the password."""

from app.domain.audit import Action
from app.models import User
from app.schemas.auth import ProfileUpdate, UserRead
from app.services.callers import Callers, CurrentUser
from app.services.password_proofs import PasswordNeeded, PasswordProofs
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class ProfileService:
    """The name that others see, and the address to log in with."""

    def __init__(self, uow: UnitOfWorkFactory, callers: Callers, proofs: PasswordProofs) -> None:
        self._uow = uow
        self._callers = callers
        self._proofs = proofs

    async def update(self, caller: CurrentUser, request: ProfileUpdate) -> UserRead:
        """Change what is given; raise `PasswordNeeded`, `WrongPassword` or `EmailTaken`."""
        if request.email is None or request.email == caller.user.email:
            async with self._uow() as work:
                user = await work.accounts.lock_user(caller.user.id)
                if user is not None and (changed := _rename(user, request)):
                    work.audit.record(Action.USER_CHANGED, caller.by, user.id, fields=changed)
        elif request.password is None:
            # Where mails go decides who may set a new password.
            raise PasswordNeeded("the password is needed to change the address")
        else:
            async with self._proofs.of_user(caller.user.id, request.password) as (work, user):
                changed = _rename(user, request)
                await _move(work, user, request.email)
                work.audit.record(Action.USER_CHANGED, caller.by, user.id, fields=["email", *changed])
        self._callers.forget(caller.credential_id)
        return (await self._callers.look_again(caller)).read()


def _rename(user: User, request: ProfileUpdate) -> list[str]:
    """The names of what it changed."""
    if request.display_name in {None, "", user.display_name}:
        return []
    user.display_name = request.display_name or user.display_name
    return ["display_name"]


async def _move(work: UnitOfWork, user: User, email: str) -> None:
    """Whoever reads the old address may set no password any more; nobody who was told it is told the new one."""
    user.email = email
    await work.accounts.write_email()
    await work.workspaces.untell_address(user.id)
    await work.credentials.drop_resets(user.id)
