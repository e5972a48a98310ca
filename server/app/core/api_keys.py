"""What an API key looks like: `arena_sk_`, 32 random bytes, and a checksum.

By the checksum a mistyped key is told from one that was revoked, and a scanner of published secrets, which has only the
text, a key from what merely looks like one.
"""

import re
import secrets
import string
import zlib

from app.core.access_tokens import InvalidToken
from app.core.security import digest_of

PREFIX = "arena_sk_"
RANDOM_BYTES = 32
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM_CHARACTERS = 6  # 62 ** 6 is more than 2 ** 32
_SHOWN_CHARACTERS = 4
_FORM = re.compile(r"arena_sk_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}")


def make_key() -> str:
    """A new key."""
    body = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    return body + _checksum(body)


def looks_like_key(token: str) -> bool:
    """Whether the token means to be an API key, good or not."""
    return token.startswith(PREFIX)


def digest_of_key(text: str) -> bytes:
    """What is kept of the key; raise `InvalidToken` for what cannot be one, at no cost that grows with it."""
    if _FORM.fullmatch(text) is None or _checksum(text[:-_CHECKSUM_CHARACTERS]) != text[-_CHECKSUM_CHARACTERS:]:
        raise InvalidToken("this is no API key of this server; was all of it copied?")
    return digest_of(text)


def hint_of(key: str) -> str:
    """How the key begins: enough for its owner to know it by."""
    return key[: len(PREFIX) + _SHOWN_CHARACTERS]


def _checksum(body: str) -> str:
    """CRC-32 in six digits to the base of 62, as in the tokens of GitHub, npm and others."""
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
