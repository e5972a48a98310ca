"""Login at an issuer of identities: there, back, and what comes of it.

Always holds: an answer counts once, and only in the browser that asked; an identity is linked to an account that was
there before only by a session of that account, never because of an address: whoever registered an address first need
not be whose address it is.
"""

import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from pydantic import TypeAdapter, ValidationError

from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from app.core.ids import new_id
from app.core.oidc import BadIdToken, KnownPerson, OidcClient
from app.core.oidc_issuer import failed
from app.core.sealing import SealBroken, Sealer
from app.core.security import digest_of
from app.core.visits import Visit
from app.domain.audit import Action, By
from app.models import OidcLogin, User, Workspace
from app.models.sealed import OIDC_VERIFIERS
from app.repositories.accounts import EmailTaken
from app.repositories.identities import IdentityTaken
from app.schemas.auth import Email, TokenPair
from app.schemas.base import Line, Page
from app.schemas.oidc import VERIFIER_PATTERN, IdentityRead, OidcIssuerRead
from app.services.auth import AuthService, InvalidGrant, RegistrationClosed
from app.services.callers import CurrentUser, SessionEnded
from app.services.password_proofs import PasswordNeeded, PasswordProofs
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

LOGIN_SECONDS = 600
CODE_SECONDS = 60
METHOD = "oidc"
"""How the audit log calls this way in."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
_NAME: TypeAdapter[str] = TypeAdapter(Line)


class NotConfigured(NotFound):
    """This installation knows no issuer."""

    code = "oidc_not_configured"


class ReturnRefused(Invalid):
    """A login leads back to frontends that the operator named, and to no other address."""

    code = "return_to_refused"
    where = ("query", "return_to")


class ChallengeNeeded(Invalid):
    """Without one, whoever saw the code on its way back could use it."""

    code = "code_challenge_needed"
    where = ("query", "code_challenge")


class UnknownLogin(Unauthenticated):
    """The answer to no login that this browser began; or it was used, or came too late."""

    code = "oidc_state_invalid"


class LoginDeclined(Forbidden):
    """The person, or the issuer, said no."""

    code = "oidc_access_denied"


class WrongIssuer(Unauthenticated):
    """The answer is another issuer's (RFC 9207)."""

    code = "oidc_issuer_mismatch"


class EmailNotVerified(Forbidden):
    """An account is made only for an address that the issuer says is the person's."""

    code = "email_not_verified"


class AccountDisabled(Forbidden):
    """The account was disabled."""

    code = "account_disabled"

    def __init__(self, detail: str, user_id: UUID) -> None:
        super().__init__(detail)
        self.user_id = user_id


class OnlyWayIn(Conflict):
    """Without it nobody could log in to the account."""

    code = "only_way_in"


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and what it keeps meanwhile."""

    url: str
    browser_secret: str
    is_secure: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back from the issuer, as it came."""

    state: str | None = None
    code: str | None = None
    error: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A session, or where the browser goes on; neither, if an identity was linked and nobody waits for the browser."""

    tokens: TokenPair | None = None
    go_to: str | None = None


class OidcLogins:
    """One issuer's; `client` None: there is none, and nothing is to be found here."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        auth: AuthService,
        proofs: PasswordProofs,
        client: OidcClient | None,
        sealer: Sealer,
        settings: Settings,
    ) -> None:
        self._uow = uow
        self._auth = auth
        self._proofs = proofs
        self._known_client = client
        self._sealer = sealer
        self._settings = settings

    @property
    def _client(self) -> OidcClient:
        if self._known_client is None:
            raise NotConfigured("this installation has no single sign-on")
        return self._known_client

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach us over TLS; else they are on this machine."""
        return self._client.is_secure

    def issuers(self) -> Page[OidcIssuerRead]:
        """Those at which one can log in."""
        if self._known_client is None:
            return Page(items=[])
        url = self._client.redirect_url.removesuffix("/callback") + "/login"
        name = self._settings.oidc.oidc_name
        return Page(items=[OidcIssuerRead(name=name, issuer=self._client.issuer.name, login_url=url)])

    async def begin(self, browser_secret: str | None, return_to: str | None, challenge: str | None) -> Begun:
        """A login that returns to the frontend which has the verifier of the challenge, or answers with tokens."""
        self._check_return(return_to)
        if return_to is not None and challenge is None:
            raise ChallengeNeeded("return_to needs code_challenge: BASE64URL(SHA256(code_verifier)) (RFC 7636)")
        return await self._begin(browser_secret, return_to, challenge if return_to is not None else None, None)

    async def begin_link(
        self, user: CurrentUser, browser_secret: str | None, return_to: str | None, password: str | None
    ) -> Begun:
        """The way to link an identity to the caller's account, in the browser that asks, while the session lives.

        Raise `PasswordNeeded` or `WrongPassword`: a stolen access token must not become a way in that lasts.
        """
        self._check_return(return_to)
        await self._prove(user, password)
        return await self._begin(browser_secret, return_to, None, user.credential_id)

    async def finish(self, browser_secret: str | None, answered: Answered, visit: Visit) -> Finished:
        """Use the login up, and take the issuer's word for who it is. Who is not let in is told of in the audit log."""
        login = None
        try:
            login = await self._take(browser_secret, answered.state)
            return await self._finish(login, answered, visit)
        except (Unauthenticated, Forbidden, Conflict) as error:
            if login is None or login.session_id is None:
                whose = error.user_id if isinstance(error, AccountDisabled) else None
                await self._auth.note_failure(whose, error.code)
            raise

    async def _finish(self, login: OidcLogin, answered: Answered, visit: Visit) -> Finished:
        self._check_answer(answered, await self._names_itself(answered))
        verifier = self._unseal(login)
        if not answered.code:
            raise failed("its answer has neither a code nor an error")
        person = await self._client.person(code=answered.code, nonce=login.nonce, verifier=verifier)
        if login.session_id is not None:
            await self._link(person, login.session_id)
            return Finished(go_to=login.return_to and _with(login.return_to, linked="true"))
        user = await self._user_of(person)
        async with self._uow() as work:
            if login.return_to is None or login.challenge is None:
                return Finished(tokens=await self._auth.open_session(work, user, "", visit, METHOD))
            code = secrets.token_urlsafe(32)
            await work.identities.add_code(digest_of(code), login.challenge, user.id, CODE_SECONDS)
        return Finished(go_to=_with(login.return_to, code=code))

    async def redeem(self, code: str, verifier: str, visit: Visit) -> TokenPair:
        """Trade a code that a login returned with for a session, once; raise `InvalidGrant`."""
        user = None
        if re.fullmatch(VERIFIER_PATTERN, verifier) is not None:
            async with self._uow() as work:
                user = await work.identities.take_code(digest_of(code), create_s256_code_challenge(verifier))
                if user is not None and user.disabled_at is None:
                    return await self._auth.open_session(work, user, "", visit, METHOD)
        await self._auth.note_failure(user.id if user else None, AccountDisabled.code if user else InvalidGrant.code)
        raise InvalidGrant("the code is not valid: it is good once, for a minute, and for who began the login")

    async def list_links(self, user: CurrentUser) -> Page[IdentityRead]:
        async with self._uow.reading() as work:
            identities = await work.identities.list_of(user.user.id)
        return Page(items=[IdentityRead.model_validate(identity) for identity in identities])

    async def unlink(self, user: CurrentUser) -> None:
        """Forget who the caller is at the issuer; raise `OnlyWayIn` for an account without a password."""
        async with self._uow() as work:
            account = await work.accounts.find_user(user.user.id)
            if account is None or account.password_hash is None:
                raise OnlyWayIn("this account has no password; set one before you unlink")
            if not await work.identities.remove(self._client.issuer.name, user.user.id):
                raise NotFound("the account is not linked")
            work.audit.record(Action.IDENTITY_UNLINKED, user.by, user.user.id)

    async def _prove(self, user: CurrentUser, password: str | None) -> None:
        # A password that was set meanwhile has ended the session, so that the link will not be finished.
        if user.user.password_hash is None:
            return
        if password is None:
            raise PasswordNeeded("the password is needed to link an identity")
        async with self._proofs.of_user(user.user.id, password):
            pass

    def _check_return(self, return_to: str | None) -> None:
        # To the letter: parsers of addresses disagree on what leads where.
        if return_to is not None and return_to not in self._settings.oidc.return_urls:
            raise ReturnRefused("return_to must be one of the addresses that the operator allowed")

    async def _begin(
        self, browser_secret: str | None, return_to: str | None, challenge: str | None, session_id: UUID | None
    ) -> Begun:
        # One browser may log in on several pages at once, so what it holds already stays.
        if browser_secret is None or _SECRET.fullmatch(browser_secret) is None:
            browser_secret = secrets.token_urlsafe(32)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        url = await self._client.authorization_url(state=state, nonce=nonce, verifier=verifier)
        digest = digest_of(state)
        login = {
            "digest": digest,
            "browser_digest": digest_of(browser_secret),
            "issuer": self._client.issuer.name,
            "nonce": nonce,
            "verifier_sealed": self._sealer.seal(verifier.encode(), OIDC_VERIFIERS.place(digest)),
            "return_to": return_to,
            "challenge": challenge,
            "session_id": session_id,
        }
        async with self._uow() as work:
            await work.identities.begin_login(login, LOGIN_SECONDS)
        return Begun(url, browser_secret, self.is_secure)

    async def _take(self, browser_secret: str | None, state: str | None) -> OidcLogin:
        login = None
        if browser_secret and state:
            async with self._uow() as work:
                login = await work.identities.take_login(digest_of(state), digest_of(browser_secret))
        if login is None or login.issuer != self._client.issuer.name:
            raise UnknownLogin("this is the answer to no login of this browser's, or it came too late; log in again")
        return login

    async def _names_itself(self, answered: Answered) -> bool:
        return answered.issuer is None and (await self._client.issuer.endpoints()).names_itself

    def _check_answer(self, answered: Answered, should_have_named_itself: bool) -> None:
        if should_have_named_itself or answered.issuer not in {None, self._client.issuer.name}:
            raise WrongIssuer("the answer is not from the provider of identities that was asked")
        if answered.error in {"access_denied", "login_required", "consent_required", "interaction_required"}:
            raise LoginDeclined("the login was declined at the provider of identities")
        if answered.error:
            raise failed(f"it answered {answered.error!r}")

    def _unseal(self, login: OidcLogin) -> str:
        try:
            return self._sealer.unseal(login.verifier_sealed, OIDC_VERIFIERS.place(login.digest)).decode()
        except SealBroken:  # the installation's key was changed meanwhile
            raise UnknownLogin("this login cannot be finished any more; log in again") from None

    async def _link(self, person: KnownPerson, session_id: UUID) -> None:
        async with self._uow() as work:
            found = await work.sessions.find_live(session_id, utc_now())
            if found is None:
                raise SessionEnded("the session that wanted to link an identity has ended; log in again")
            holder = await work.identities.find_user(person.issuer, person.subject)
            if holder is not None and holder.id != found[1].id:
                raise IdentityTaken("this identity belongs to another account")
            if holder is None:
                await work.identities.add(person.issuer, person.subject, found[1].id)
                work.audit.record(Action.IDENTITY_LINKED, By(found[1].id, session_id), found[1].id)

    async def _user_of(self, person: KnownPerson) -> User:
        """Whose identity it is, or a new account's."""
        try:
            async with self._uow() as work:
                user = await work.identities.find_user(person.issuer, person.subject)
                user = user or await self._register(work, person)
        except (EmailTaken, IdentityTaken):
            # The same person may have come in twice at once.
            async with self._uow.reading() as work:
                user = await work.identities.find_user(person.issuer, person.subject)
            if user is None:
                raise EmailTaken(
                    "there is an account with this address; log in to it and link this identity there"
                ) from None
        if user.disabled_at is not None:
            raise AccountDisabled("this account was disabled", user.id)
        return user

    async def _register(self, work: UnitOfWork, person: KnownPerson) -> User:
        if not self._settings.oidc_registration_open:
            raise RegistrationClosed("nobody here is known by this identity, and registration is closed")
        if person.verified_email is None:
            raise EmailNotVerified("the provider of identities does not say that the address is yours")
        email = _address(person.verified_email)
        name = _display_name(person.name)
        user = User(id=new_id(), email=email, display_name=name)
        await work.accounts.add_user(user, Workspace(id=new_id(), name=f"{name}'s workspace"[:200]))
        await work.identities.add(person.issuer, person.subject, user.id)
        work.audit.record(Action.USER_CREATED, By(user.id), user.id, is_superuser=False)
        work.audit.record(Action.IDENTITY_LINKED, By(user.id), user.id)
        return user


def _address(text: str) -> str:
    try:
        return _EMAIL.validate_python(text)
    except ValidationError:
        raise BadIdToken("what the provider of identities says cannot be relied on: the address is none") from None


def _display_name(name: str | None) -> str:
    """Never a part of the address: every colleague sees the name, and knows the rest."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        return "New user"


def _with(address: str, **query: str) -> str:
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"
