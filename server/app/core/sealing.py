"""Secrets at rest: sealed with AES-256-GCM (NIST SP 800-38D), each bound to the row and the column it is kept in.

A sealed value is one byte of format, 8 bytes that name the key, a nonce of 12 bytes, and the ciphertext with its tag.
It cannot be opened anywhere but in its place: moved to another row, it is as good as broken. Nonces are random, so one
key is good for about four thousand million values.
"""

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.derived_keys import derive_key

FORMAT = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(FORMAT) + _KEY_ID_BYTES + _NONCE_BYTES


class SealBroken(Exception):
    """The value was not sealed by us for this place, or its key is none of ours any more."""


class Sealer:
    """Seals with the newest of the installation's secret keys and opens with any of them."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        """`secret_keys`: the newest first, at least one."""
        derived = [derive_key(key, "arena sealed values 1") for key in secret_keys]
        self._ciphers = {_key_id(key): AESGCM(key) for key in reversed(derived)}
        self._newest = _key_id(derived[0])

    def seal(self, secret: bytes, place: str) -> bytes:
        """`place` says where it is kept: `table.column:row`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, secret, place.encode())
        return self.beginning + nonce + sealed

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """The secret; raise `SealBroken`."""
        cipher = self._ciphers.get(_key_id_of(sealed))
        if cipher is None or not sealed.startswith(FORMAT) or len(sealed) < _HEADER_BYTES:
            raise SealBroken(f"what is kept in {place} was sealed with a key that is not here")
        nonce = sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES:], place.encode())
        except InvalidTag:
            raise SealBroken(f"what is kept in {place} was changed, or sealed for another place") from None

    @property
    def beginning(self) -> bytes:
        """How every value begins that need not be sealed anew."""
        return FORMAT + self._newest

    def is_newest(self, sealed: bytes) -> bool:
        """Whether it need not be sealed anew."""
        return sealed.startswith(self.beginning)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"arena key id" + key).digest()[:_KEY_ID_BYTES]


def _key_id_of(sealed: bytes) -> bytes:
    return sealed[len(FORMAT) : len(FORMAT) + _KEY_ID_BYTES]
