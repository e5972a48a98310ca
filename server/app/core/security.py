"""Passwords, and refresh tokens, which are opaque; only their hash is kept."""

import asyncio
import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit
from uuid import UUID

from pwdlib import PasswordHash
from zxcvbn import zxcvbn

from app.core.derived_keys import DerivedKeys
from app.core.errors import Invalid

_HASHER = PasswordHash.recommended()
_FEWEST_GUESSES = 1_000_000
# Its cost grows with the square of the length; what follows only makes a password stronger.
_JUDGED_CHARACTERS = 72
# What this is called: whoever guesses at an installation knows it.
_WORDS_OF_THE_PRODUCT = ("discussion arena", "discussionarena", "discussion-arena", "discussion", "arena")


class WeakPassword(Invalid):
    """The password is one that attackers try first."""

    code = "weak_password"
    where = ("body", "password")


def check_password_strength(password: str, *, email: str, display_name: str, public_url: str | None = None) -> None:
    """Raise `WeakPassword` for one that falls within about a million guesses.

    zxcvbn counts them (Wheeler 2016): common passwords and words, keyboard rows, dates, repetitions, the account's
    own name and address, and what the product and the host of its `public_url` are called. Takes milliseconds.
    """
    own_words = [email, email.partition("@")[0], display_name, *_WORDS_OF_THE_PRODUCT, *_words_of(public_url)]
    # Its search for dates takes a line's end for nothing (`$` of `re`) and then for a number.
    judged = password[:_JUDGED_CHARACTERS].replace("\n", " ")
    estimate = zxcvbn(judged, user_inputs=own_words)
    if estimate["guesses"] < _FEWEST_GUESSES:
        raise WeakPassword("this password is easily guessed; choose one that is less like a common one or your name")


def _words_of(public_url: str | None) -> list[str]:
    host = urlsplit(public_url or "").hostname or ""
    return [host, *host.split(".")] if host else []


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
    def make(cls, session_id: UUID, number: int, keys: DerivedKeys) -> "RefreshToken":
        nonce = secrets.token_urlsafe(24)
        return cls(session_id, number, nonce, _text(keys.seal(_sealed(session_id, number, nonce))))

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

    def is_ours(self, keys: DerivedKeys) -> bool:
        """Whether this installation made it, be it with a secret key that is about to be given up."""
        message = _sealed(self.session_id, self.number, self.nonce)
        return any(hmac.compare_digest(self.seal.encode(), _text(seal).encode()) for seal in keys.seals(message))

    def matches(self, digest: bytes) -> bool:
        return hmac.compare_digest(self.digest, digest)


def _sealed(session_id: UUID, number: int, nonce: str) -> bytes:
    return f"{session_id.hex}.{number}.{nonce}".encode()


def _text(seal: bytes) -> str:
    return urlsafe_b64encode(seal[:24]).decode()
