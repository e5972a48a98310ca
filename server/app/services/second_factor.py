"""The second factor of an account: time-based codes, and recovery codes that stand in for them.

Always holds: a code is looked at only after the right password, under the lock of the account's row, and is good once:
of parallel uses of one code exactly one succeeds. A factor counts only once its owner has shown a code of it.
"""

from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import Conflict, Unauthenticated
from app.core.sealing import Sealer
from app.core.security import digest_of
from app.core.totp import make_recovery_codes, make_secret, matching_step, plain_recovery_code, provisioning_uri
from app.domain.audit import Action
from app.models import User
from app.models.sealed import TOTP_SECRETS
from app.schemas.auth import RecoveryCodes, SecondFactorRead, TotpSecret
from app.services.callers import CurrentUser
from app.services.password_proofs import PasswordProofs, WrongSecret
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class TotpRequired(Unauthenticated):
    """The password was right; a code of the second factor is needed as well."""

    code = "totp_required"

    def __init__(self, detail: str, user_id: UUID) -> None:
        super().__init__(detail)
        self.user_id = user_id


class WrongCode(WrongSecret):
    """The code is wrong, was used before, or is too old."""

    code = "wrong_code"


class SecondFactorExists(Conflict):
    """There is a second factor, which has to go first."""

    code = "second_factor_exists"


class NoSecondFactor(Conflict):
    """There is no second factor to which this could be done."""

    code = "no_second_factor"


class SecondFactors:
    """Begun with a secret, confirmed by a code of it, taken away by password and code."""

    def __init__(self, uow: UnitOfWorkFactory, sealer: Sealer, proofs: PasswordProofs) -> None:
        self._uow = uow
        self._sealer = sealer
        self._proofs = proofs

    async def read(self, caller: CurrentUser) -> SecondFactorRead:
        async with self._uow.reading() as work:
            user = await work.accounts.find_user(caller.user.id)
            left = await work.credentials.count_recovery_codes(caller.user.id)
        is_confirmed = user is not None and user.totp_confirmed_at is not None
        return SecondFactorRead(is_confirmed=is_confirmed, recovery_codes_left=left)

    async def begin(self, caller: CurrentUser, password: str) -> TotpSecret:
        """A new secret, which does not count before it is confirmed; one that was begun before is forgotten."""
        secret = make_secret()
        async with self._proofs.of_user(caller.user.id, password) as (_work, user):
            if user.totp_confirmed_at is not None:
                raise SecondFactorExists("there is a second factor already; remove it first")
            user.totp_secret_sealed = self._sealer.seal(secret.encode(), TOTP_SECRETS.place(user.id))
            user.totp_last_step = None
            return TotpSecret(secret=secret, uri=provisioning_uri(secret, user.email))

    async def confirm(self, caller: CurrentUser, code: str) -> RecoveryCodes:
        """From now on the factor counts, and its recovery codes are good."""
        async with self._uow() as work:
            user = await work.accounts.lock_user(caller.user.id)
            if user is None or user.totp_secret_sealed is None or user.totp_confirmed_at is not None:
                raise NoSecondFactor("no second factor waits to be confirmed; begin one first")
            if not self._use_code(user, code):
                raise WrongCode("the code is wrong or too old", user.id)
            user.totp_confirmed_at = utc_now()
            work.audit.record(Action.TOTP_ENABLED, caller.by, user.id)
            return await _new_recovery_codes(work, user)

    async def remove(self, caller: CurrentUser, password: str, code: str) -> None:
        """Take the factor and its recovery codes away."""
        async with self._proofs.of_user(caller.user.id, password) as (work, user):
            await self._demand(work, user, code)
            user.totp_secret_sealed = user.totp_confirmed_at = user.totp_last_step = None
            await work.credentials.replace_recovery_codes(user.id, [])
            work.audit.record(Action.TOTP_DISABLED, caller.by, user.id)

    async def renew_recovery_codes(self, caller: CurrentUser, password: str, code: str) -> RecoveryCodes:
        """New recovery codes; the old ones are good no more."""
        async with self._proofs.of_user(caller.user.id, password) as (work, user):
            await self._demand(work, user, code)
            work.audit.record(Action.RECOVERY_CODES_RENEWED, caller.by, user.id)
            return await _new_recovery_codes(work, user)

    async def check_at_login(self, work: UnitOfWork, user: User, code: str | None) -> str:
        """Raise `TotpRequired` or `WrongCode`, if the account has a factor that counts; else say what let in.

        The password was right and the row is locked.
        """
        if user.totp_confirmed_at is None:
            return "password"
        if not code:
            raise TotpRequired("a code of the second factor is needed: send it as `totp`", user.id)
        return f"password+{await self._use_up(work, user, code)}"

    async def _demand(self, work: UnitOfWork, user: User, code: str) -> None:
        if user.totp_confirmed_at is None:
            raise NoSecondFactor("there is no second factor")
        await self._use_up(work, user, code)

    async def _use_up(self, work: UnitOfWork, user: User, code: str) -> str:
        """Use up a code of either kind, and say of which; raise `WrongCode`."""
        if await work.credentials.take_recovery_code(user.id, digest_of(plain_recovery_code(code))):
            return "recovery_code"
        if self._use_code(user, code):
            return "totp"
        raise WrongCode("the code is wrong, was used before, or is too old", user.id)

    def _use_code(self, user: User, code: str) -> bool:
        if user.totp_secret_sealed is None:
            return False
        secret = self._sealer.unseal(user.totp_secret_sealed, TOTP_SECRETS.place(user.id)).decode()
        step = matching_step(secret, code, utc_now(), user.totp_last_step)
        if step is None:
            return False
        user.totp_last_step = step
        return True


async def _new_recovery_codes(work: UnitOfWork, user: User) -> RecoveryCodes:
    codes = make_recovery_codes()
    await work.credentials.replace_recovery_codes(user.id, [digest_of(plain_recovery_code(code)) for code in codes])
    return RecoveryCodes(recovery_codes=codes)
