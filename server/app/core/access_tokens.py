"""Access tokens: JWTs (RFC 9068, `typ: at+jwt`) signed with Ed25519, and what is refused (RFC 8725).

A token's header has exactly the members that ours have, so that none of those by which a token could name its own key
or way of reading (`jwk`, `jku`, `x5u`, `crit`, `b64`) is ever looked at; and there is one spelling of each token.
"""

import hashlib
import json
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from cachetools import LRUCache

from app.core.clock import utc_now
from app.core.derived_keys import DerivedKeys, SecretKeys
from app.core.errors import Unauthenticated
from app.core.key_ring import KeyRing

ISSUER = "arena"
AUDIENCE = "arena-api"
ALGORITHM = "EdDSA"
ACCESS = "at+jwt"
STREAM = "arena-stream+jwt"
"""The `typ` of a token that opens live streams and nothing else: it may be in an address, and so in logs."""
MOST_CHARACTERS = 4_096
MOST_REMEMBERED = 10_000
# Machines' clocks differ, and a token may reach another one at once.
CLOCK_DIFFERENCE_SECONDS = 30

# A signature has 64 bytes; of its last character's six bits two count, and the others are zero.
_FORM = re.compile(r"([A-Za-z0-9_-]{20,500})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
_KID = re.compile(r"[A-Za-z0-9_-]{43}")
_HEADER = {"alg", "kid", "typ"}
_OPTIONS: Any = {"require": ["exp", "iat", "sub", "aud", "iss"], "verify_iat": False}


class InvalidToken(Unauthenticated):
    """The access token is none of ours, or has been tampered with."""

    code = "invalid_token"


class UnknownKey(InvalidToken):
    """It names a key that is not known here, or not yet."""


class ExpiredToken(Unauthenticated):
    """The access token was good once."""

    code = "token_expired"


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token says."""

    user_id: UUID
    session_id: UUID
    scope: str


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature was checked: good until it expires or its key is retired."""

    claims: AccessClaims
    kid: str
    expires_at: int


class TokenSigner:
    """Issues and checks access tokens. `refresh_key` seals refresh tokens."""

    def __init__(self, keys: KeyRing, secret_keys: SecretKeys, lifetime_seconds: int) -> None:
        self._keys = keys
        self.refresh_key = DerivedKeys.of(secret_keys, "arena refresh token seal 1")
        self.lifetime_seconds = lifetime_seconds
        # By digest and kind. A signature costs a tenth of a millisecond to check, and a client shows its token often.
        self._verified: LRUCache[tuple[bytes, str], _Verified] = LRUCache(MOST_REMEMBERED)

    def issue(self, claims: AccessClaims, now: datetime | None = None, kind: str = ACCESS) -> str:
        """A token of the newest active key; raise `Unavailable` if there is none here."""
        issued = now or utc_now()
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "scope": claims.scope,
            "jti": secrets.token_urlsafe(12),
            "iat": issued,
            "exp": issued + timedelta(seconds=self.lifetime_seconds),
        }
        kid, private = self._keys.signing_key()
        return jwt.encode(payload, private, ALGORITHM, headers={"typ": kind, "kid": kid})

    async def read(self, token: str, kind: str = ACCESS) -> AccessClaims:
        """As `verify`, but look for the key that the token names among new ones, too."""
        try:
            return self.verify(token, kind)
        except UnknownKey:
            await self._keys.look()
        return self.verify(token, kind)

    def verify(self, token: str, kind: str = ACCESS) -> AccessClaims:
        """The token's claims; raise `ExpiredToken` or `InvalidToken`, also for a token of another kind."""
        if len(token) > MOST_CHARACTERS:
            raise _invalid()
        remembered = hashlib.sha256(token.encode(errors="surrogatepass")).digest(), kind
        verified = self._verified.get(remembered)
        if verified is None or self._keys.find(verified.kid) is None:
            form = _FORM.fullmatch(token)
            if form is None:
                raise _invalid()
            verified = self._verified[remembered] = self._check(token, _kid_in(form[1], kind))
        if verified.expires_at <= utc_now().timestamp():
            raise _expired()
        return verified.claims

    def _check(self, token: str, kid: str) -> _Verified:
        key = self._keys.find(kid)
        if key is None:
            raise UnknownKey("the access token is not valid")
        try:
            payload = jwt.decode(
                token, key.public, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS
            )
            if int(payload["iat"]) > utc_now().timestamp() + CLOCK_DIFFERENCE_SECONDS:
                raise _invalid()
            claims = AccessClaims(UUID(payload["sub"]), UUID(payload["sid"]), str(payload.get("scope", "")))
            return _Verified(claims, kid, int(payload["exp"]))
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise _invalid() from None


def _kid_in(encoded: str, kind: str) -> str:
    """The key that a header names, if it is a header such as ours are."""
    try:
        header = json.loads(urlsafe_b64decode(encoded + "=="), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        raise _invalid() from None
    if not isinstance(header, dict) or set(header) != _HEADER:
        raise _invalid()
    kid = header["kid"]
    if header["alg"] != ALGORITHM or header["typ"] != kind or not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise _invalid()
    return kid


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that comes twice (RFC 7515, section 4) others may read the one, and we the other."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _invalid() -> InvalidToken:
    return InvalidToken("the access token is not valid")


def _expired() -> ExpiredToken:
    return ExpiredToken("the access token has expired; refresh it")
