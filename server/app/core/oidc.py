"""OpenID Connect as a relying party: the authorization code flow with PKCE, and the checks of what comes back.

Always holds: a person is known only by an ID token that came from the issuer's token endpoint, signed by one of its
published keys with an asymmetric algorithm, for this client and for this login (`nonce`), and not expired.
"""

import asyncio
import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError

from app.config import OidcSettings, Settings
from app.core.errors import StartupFailed, Unauthenticated
from app.core.oidc_issuer import Issuer, failed
from app.core.outgoing import Outgoing
from app.core.public_addresses import ForbiddenAddress, address_in

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Of signatures by a key that only the issuer has: without `none`, and without secrets that both sides know."""
LEEWAY_SECONDS = 30
_MOST_SUBJECT_CHARACTERS = 255


class CodeRefused(Unauthenticated):
    """The issuer does not know the code, or not any more."""

    code = "oidc_code_refused"


class BadIdToken(Unauthenticated):
    """What the issuer says of the person cannot be relied on."""

    code = "oidc_token_invalid"


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Who somebody is at an issuer; `email` only if the issuer says that it is theirs."""

    issuer: str
    subject: str
    verified_email: str | None
    name: str | None


class OidcClient:
    """What this installation is at one issuer."""

    def __init__(self, settings: Settings, outgoing: Outgoing) -> None:
        """Raise `StartupFailed` for settings that do not go together."""
        oidc = settings.oidc
        issuer, client_id = _checked(oidc)
        self.issuer = Issuer(issuer, outgoing)
        self.redirect_url = settings.oidc_redirect_url
        self.is_secure = _is_secure(self.redirect_url)
        self._id = client_id
        self._secret = oidc.oidc_client_secret.get_secret_value() if oidc.oidc_client_secret else None
        self._scopes = oidc.oidc_scopes
        self._seconds = settings.outgoing.outgoing_seconds

    async def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser is sent to log in; raise `IssuerFailed`."""
        url: str = prepare_grant_uri(
            (await self.issuer.endpoints()).authorization,
            self._id,
            "code",
            redirect_uri=self.redirect_url,
            scope=self._scopes,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return url

    async def person(self, *, code: str, nonce: str, verifier: str) -> KnownPerson:
        """Who has logged in, for the code; raise `CodeRefused`, `BadIdToken` or `IssuerFailed`."""
        try:
            async with asyncio.timeout(self._seconds):
                tokens = await self._exchange(code, verifier)
                claims = await self._verified(tokens, nonce)
                return await self._person(claims, tokens)
        except TimeoutError:
            raise failed(f"it took longer than {self._seconds:g} s") from None

    async def close(self) -> None:
        await self.issuer.close()

    async def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        endpoints = await self.issuer.endpoints()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_url,
            "code_verifier": verifier,
        }
        headers = {}
        if self._secret is None:
            form["client_id"] = self._id
        elif "client_secret_post" in endpoints.token_auth_methods and (
            "client_secret_basic" not in endpoints.token_auth_methods
        ):
            form |= {"client_id": self._id, "client_secret": self._secret}
        else:
            headers["Authorization"] = _basic(self._id, self._secret)
        status, answer = await self.issuer.post(endpoints.token, urlencode(form).encode(), headers)
        if status == 200:
            return answer
        if answer.get("error") == "invalid_grant":
            raise CodeRefused("the provider of identities does not accept this login; log in again")
        raise failed(f"its token endpoint answered {status}: {answer.get('error')!r}")

    async def _verified(self, tokens: dict[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of the ID token, if they hold."""
        try:
            token = await self._decoded(tokens["id_token"])
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self.issuer.name},
                    "aud": {"essential": True, "value": self._id},
                    "sub": {"essential": True},
                },
                params={"nonce": nonce, "client_id": self._id, "access_token": tokens.get("access_token")},
            )
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = getattr(error, "error", type(error).__name__)
            raise BadIdToken(f"what the provider of identities says cannot be relied on: {reason}") from None
        if len(claims["sub"]) > _MOST_SUBJECT_CHARACTERS:
            raise BadIdToken("what the provider of identities says cannot be relied on: its subject is too long")
        return dict(claims)

    async def _decoded(self, id_token: str) -> jwt.Token:
        try:
            return jwt.decode(id_token, await self.issuer.keys(), algorithms=ALGORITHMS)
        except InvalidKeyIdError:  # it may have a new one
            return jwt.decode(id_token, await self.issuer.keys(anew=True), algorithms=ALGORITHMS)

    async def _person(self, claims: dict[str, Any], tokens: dict[str, Any]) -> KnownPerson:
        endpoints = await self.issuer.endpoints()
        access_token = tokens.get("access_token")
        # In the code flow an issuer may keep all but the subject for those who ask again (Core, section 5.4).
        if "email" not in claims and endpoints.userinfo is not None and isinstance(access_token, str):
            more = await self.issuer.get(endpoints.userinfo, {"Authorization": f"Bearer {access_token}"})
            if more.get("sub") != claims["sub"]:
                raise BadIdToken("the provider of identities speaks of two people")
            claims = {**more, **claims}
        name = claims.get("name") or claims.get("preferred_username")
        return KnownPerson(
            issuer=self.issuer.name,
            subject=claims["sub"],
            verified_email=claims.get("email") if claims.get("email_verified") is True else None,
            name=name if isinstance(name, str) else None,
        )


def _basic(client_id: str, secret: str) -> str:
    """RFC 6749, section 2.3.1: each is form-encoded before they are joined."""
    joined = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(joined.encode()).decode()


def check_oidc(settings: Settings) -> None:
    """Raise `StartupFailed` for settings that do not go together."""
    if settings.oidc.is_set:
        _checked(settings.oidc)
        _is_secure(settings.oidc_redirect_url)


def _checked(oidc: OidcSettings) -> tuple[str, str]:
    """The issuer and what we are called there."""
    if oidc.oidc_issuer is None or oidc.oidc_client_id is None:
        raise StartupFailed("ARENA_OIDC_ISSUER and ARENA_OIDC_CLIENT_ID are needed together")
    if "openid" not in oidc.oidc_scopes.split():
        raise StartupFailed("ARENA_OIDC_SCOPES must name `openid`")
    return oidc.oidc_issuer, oidc.oidc_client_id


def _is_secure(redirect_url: str) -> bool:
    """Whether browsers come back over TLS; raise `StartupFailed` if they neither do nor stay on their own machine."""
    parts = urlsplit(redirect_url)
    if parts.scheme == "https":
        return True
    if _is_loopback(parts.hostname or ""):
        return False
    raise StartupFailed("ARENA_OIDC_REDIRECT_URL must be https, unless it is on loopback")


def _is_loopback(host: str) -> bool:
    try:
        address = address_in(host)
    except ForbiddenAddress:
        return False
    return host == "localhost" if address is None else address.is_loopback
