"""Passwords, access tokens and refresh tokens.

Access tokens are JWTs (RFC 9068, `typ: at+jwt`) signed with Ed25519; the key is derived from `ARENA_SECRET_KEY`, so
that all replicas share it. Refresh tokens are opaque; only their hash is kept.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pwdlib import PasswordHash
from zxcvbn import zxcvbn

from app.core.clock import utc_now
from app.core.derived_keys import derive_key
from app.core.errors import Invalid, Unauthenticated

ISSUER = "arena"
AUDIENCE = "arena-api"
ALGORITHM = "EdDSA"
ACCESS = "at+jwt"
STREAM = "arena-stream+jwt"
"""The `typ` of a token that opens live streams and nothing else: it may be in an address, and so in logs."""
_HASHER = PasswordHash.recommended()
_FEWEST_GUESSES = 1_000_000
# Its cost grows with the square of the length; what follows only makes a password stronger.
_JUDGED_CHARACTERS = 72


class WeakPassword(Invalid):
    """The password is one that attackers try first."""

    code = "weak_password"
    where = ("body", "password")


class InvalidToken(Unauthenticated):
    """The access token is none of ours, or has been tampered with."""

    code = "invalid_token"


class ExpiredToken(Unauthenticated):
    """The access token was good once."""

    code = "token_expired"


def check_password_strength(password: str, *, email: str, display_name: str) -> None:
    """Raise `WeakPassword` for one that falls within about a million guesses.

    zxcvbn counts them (Wheeler 2016): common passwords and words, keyboard rows, dates, repetitions, and the account's
    own name and address. Takes milliseconds of processor time.
    """
    own_words = [email, email.partition("@")[0], display_name]
    estimate = zxcvbn(password[:_JUDGED_CHARACTERS], user_inputs=own_words)
    if estimate["guesses"] < _FEWEST_GUESSES:
        raise WeakPassword("this password is easily guessed; choose one that is less like a common one or your name")


async def hash_password(password: str) -> str:
    """Argon2id; in a thread, since it takes tens of milliseconds on purpose."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Compare; for an unknown user (None) take as long and say no."""
    return await asyncio.to_thread(_verify, password, password_hash)


async def renewed_hash(password: str, password_hash: str) -> str | None:
    """A hash at today's cost of a password that matched, where the one that is kept costs less or more.

    Otherwise an account of long ago would answer at another speed than an unknown one.
    """
    return await asyncio.to_thread(_renew, password, password_hash)


def _renew(password: str, password_hash: str) -> str | None:
    hasher = _HASHER.current_hasher
    return _HASHER.hash(password) if hasher.check_needs_rehash(password_hash) else None


def _verify(password: str, password_hash: str | None) -> bool:
    matches = _HASHER.verify(password, password_hash or _decoy())
    return matches and password_hash is not None


@lru_cache(maxsize=1)
def _decoy() -> str:
    return _HASHER.hash(secrets.token_urlsafe(16))


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token says."""

    user_id: UUID
    session_id: UUID
    scope: str


class TokenSigner:
    """Issues and checks access tokens."""

    def __init__(self, secret_key: str, lifetime_seconds: int) -> None:
        seed = derive_key(secret_key, "arena access token signing key 1")
        self.refresh_key = derive_key(secret_key, "arena refresh token seal 1")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key()
        raw = self._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = urlsafe_b64encode(hashlib.sha256(raw).digest()[:12]).decode()
        self.lifetime_seconds = lifetime_seconds

    def issue(self, claims: AccessClaims, now: datetime | None = None, kind: str = ACCESS) -> str:
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
        return jwt.encode(payload, self._private, ALGORITHM, headers={"typ": kind, "kid": self.key_id})

    def verify(self, token: str, kind: str = ACCESS) -> AccessClaims:
        """The token's claims; raise `ExpiredToken` or `InvalidToken`, also for a token of another kind."""
        try:
            self._check_header(jwt.get_unverified_header(token), kind)
            payload = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
            return AccessClaims(UUID(payload["sub"]), UUID(payload["sid"]), str(payload.get("scope", "")))
        except jwt.ExpiredSignatureError:
            raise ExpiredToken("the access token has expired; refresh it") from None
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidToken("the access token is not valid") from None

    def _check_header(self, header: dict[str, Any], kind: str) -> None:
        if header.get("typ") != kind or header.get("kid") != self.key_id:
            raise InvalidToken("the access token is not valid")


def digest_of(secret: str) -> bytes:
    """What is kept of a secret that is too random to be guessed (SHA-256)."""
    return hashlib.sha256(secret.encode()).digest()


REFRESH_PREFIX = "arena_rt_"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """`arena_rt_<session>.<number>.<nonce>.<seal>`.

    The seal is made with the server's key, so an old token is known to be one of ours: its reuse ends the session,
    while a guess at one does not.
    """

    session_id: UUID
    number: int
    nonce: str
    seal: str

    @classmethod
    def make(cls, session_id: UUID, number: int, key: bytes) -> "RefreshToken":
        nonce = secrets.token_urlsafe(24)
        return cls(session_id, number, nonce, _seal(key, session_id, number, nonce))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken | None":
        parts = text.removeprefix(REFRESH_PREFIX).split(".")
        if not text.startswith(REFRESH_PREFIX) or len(parts) != 4 or not re.fullmatch(r"[0-9]{1,9}", parts[1]):
            return None
        try:
            return cls(UUID(parts[0]), int(parts[1]), parts[2], parts[3])
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{REFRESH_PREFIX}{self.session_id.hex}.{self.number}.{self.nonce}.{self.seal}"

    @property
    def digest(self) -> bytes:
        return digest_of(str(self))

    def is_ours(self, key: bytes) -> bool:
        wanted = _seal(key, self.session_id, self.number, self.nonce)
        return hmac.compare_digest(self.seal.encode(), wanted.encode())

    def matches(self, digest: bytes) -> bool:
        return hmac.compare_digest(self.digest, digest)


def _seal(key: bytes, session_id: UUID, number: int, nonce: str) -> str:
    message = f"{session_id.hex}.{number}.{nonce}".encode()
    return urlsafe_b64encode(hmac.digest(key, message, "sha256")[:24]).decode()
