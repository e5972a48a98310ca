"""New passwords: by who knows the present one, or by who reads the account's mail."""

import asyncio
import secrets
from uuid import UUID

import structlog

from app.core.background import Errands
from app.core.clock import utc_now
from app.core.errors import ArenaError, Invalid, located
from app.core.mailer import Mailer, MailFailed
from app.core.security import check_password_strength, digest_of, hash_password
from app.domain.audit import Action, By
from app.models import User
from app.services.callers import Callers, CurrentUser
from app.services.password_proofs import PasswordProofs
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

RESET_SECONDS = 30 * 60
RESET_BYTES = 32
# Nobody fills a mailbox through us.
MOST_RESETS = 5
# Beyond so many under way, more are dropped: whoever asks for that many is no user.
MOST_ERRANDS = 1_000
MOST_CONNECTIONS = 2
PAUSES_SECONDS = (2.0, 10.0)
SUBJECT = "Set a new password for Discussion Arena"


class InvalidResetToken(Invalid):
    """The token is unknown, used or too old."""

    code = "invalid_reset_token"
    where = ("body", "token")


class PasswordService:
    """Changes and resets. A reset proves who reads the account's mail, and no more: a second factor stays."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        callers: Callers,
        proofs: PasswordProofs,
        mailer: Mailer,
        public_url: str | None,
    ) -> None:
        self._uow = uow
        self._callers = callers
        self._proofs = proofs
        self._mailer = mailer
        self._public_url = public_url
        self._errands = Errands()
        # A flood of requests must leave connections for everybody else.
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def change(self, caller: CurrentUser, password: str, new_password: str) -> None:
        """Set the new password and end every other session; raise `WrongPassword` or `WeakPassword`."""
        new_hash = await self._strong_hash(caller.user, new_password)
        async with self._proofs.of_user(caller.user.id, password) as (work, user):
            ended = await _set(work, user, new_hash, keep=caller.credential_id)
            work.audit.record(Action.PASSWORD_CHANGED, caller.by, user.id, sessions_ended=len(ended))
        self._callers.forget(*ended)

    def request_reset(self, email: str) -> None:
        """Send the right to set a new password, if there is such an account.

        All of it is done after the answer, so that neither its words nor its time tell who has an account.
        """
        if len(self._errands) >= MOST_ERRANDS:
            log.warning("password_reset_dropped", reason="too many under way")
            return
        self._errands.begin(self._send_reset(email))

    async def reset(self, token: str, new_password: str) -> None:
        """Set the new password, use up the token and all others of its user, and end all else that lets in.

        Sessions, API keys, and links to issuers of identities: whoever had taken the account, or had made it with
        an address that is not theirs, keeps no way in.
        """
        digest = digest_of(token)
        async with self._uow.reading() as work:
            user = await _who_may_reset(work, digest)
        new_hash = await self._strong_hash(user, new_password)
        async with self._uow() as work:
            locked = await work.accounts.lock_user(user.id)
            # Only now: another use of the token may have come first.
            if locked is None or (await _who_may_reset(work, digest)).id != user.id:
                raise _invalid_token()
            sessions = await _set(work, locked, new_hash)
            keys = await work.api_keys.revoke_all(user.id)
            unlinked = await work.identities.remove_all(user.id)
            work.audit.record(
                Action.PASSWORD_RESET,
                By(),
                user.id,
                sessions_ended=len(sessions),
                api_keys_revoked=len(keys),
                identities_unlinked=unlinked,
            )
        self._callers.forget(*sessions, *keys)

    async def close(self) -> None:
        """Give up what is not sent yet; people ask again."""
        await self._errands.close()

    async def _send_reset(self, email: str) -> None:
        try:
            async with self._room:
                token = await self._grant_reset(email)
            if token is not None:
                await self._send(email, token)
        except ArenaError as error:
            log.warning("password_reset_failed", reason=error.code)
        except Exception as error:
            # Its words could hold the mail's.
            log.error("password_reset_failed", reason=type(error).__name__)  # noqa: TRY400

    async def _grant_reset(self, email: str) -> str | None:
        """A token, of which only the digest is kept; None for an address without an account that may log in."""
        async with self._uow() as work:
            found = await work.accounts.find_user_by_email(email)
            user = await work.accounts.lock_user(found.id) if found else None
            if user is None or user.email != email or user.disabled_at is not None:
                return None
            if await work.credentials.count_resets(user.id) >= MOST_RESETS:
                return None
            token = secrets.token_urlsafe(RESET_BYTES)
            await work.credentials.add_reset(user.id, digest_of(token), RESET_SECONDS)
        return token

    async def _send(self, email: str, token: str) -> None:
        for pause in (*PAUSES_SECONDS, None):
            try:
                await self._mailer.send(email, SUBJECT, self._text(token))
            except Exception as error:  # a mailer may be anybody's
                log.warning("mail_failed", reason=str(error) if isinstance(error, MailFailed) else type(error).__name__)
                if pause is not None:
                    await asyncio.sleep(pause)
            else:
                return

    async def _strong_hash(self, user: User, new_password: str) -> str:
        with located("body", "new_password"):
            await asyncio.to_thread(
                check_password_strength,
                new_password,
                email=user.email,
                display_name=user.display_name,
                public_url=self._public_url,
            )
        return await hash_password(new_password)

    def _text(self, token: str) -> str:
        # After the hash, so that no server and no referrer ever hears of it.
        way = f"{self._public_url.rstrip('/')}/reset-password#token={token}" if self._public_url else token
        opening = "open this address" if self._public_url else "use this token"
        return (
            "Somebody, probably you, asked to set a new password for your account at Discussion Arena.\n\n"
            f"To set it, {opening} within {RESET_SECONDS // 60} minutes; it is good once:\n\n{way}\n\n"
            "If it was not you, do nothing: your password stays as it is.\n"
        )


async def _who_may_reset(work: UnitOfWork, digest: bytes) -> User:
    user_id = await work.credentials.find_reset(digest)
    user = await work.accounts.find_user(user_id) if user_id is not None else None
    if user is None or user.disabled_at is not None:
        raise _invalid_token()
    return user


def _invalid_token() -> InvalidResetToken:
    return InvalidResetToken("the token is not valid: it is good once and for half an hour; ask for a new one")


async def _set(work: UnitOfWork, user: User, new_hash: str, *, keep: UUID | None = None) -> list[UUID]:
    """Set it, take back every right to set another, and end the user's sessions but `keep`; those that were ended."""
    user.password_hash = new_hash
    await work.credentials.drop_resets(user.id)
    return await work.sessions.end_all(user.id, utc_now(), but=keep)
