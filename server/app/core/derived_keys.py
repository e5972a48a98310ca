"""One key for each purpose, out of the installation's secret keys."""

import hmac
from collections.abc import Sequence

SALT_WHEN_NONE = bytes(32)


class SecretKeys(tuple[str, ...]):
    """The installation's secret keys, the newest first, at least one: the older ones are about to be given up."""

    __slots__ = ()

    @property
    def newest(self) -> str:
        return self[0]


def derive_key(secret_key: str, purpose: str) -> bytes:
    """32 bytes by HKDF-SHA-256 (RFC 5869) without salt, `purpose` being its info.

    Of a length of one hash it is two HMACs; a library for it would cost each worker 6 MB of memory.
    """
    extracted = hmac.digest(SALT_WHEN_NONE, secret_key.encode(), "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


class DerivedKeys:
    """The keys of one purpose: the newest makes seals, each of them recognises its own."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of(cls, secret_keys: SecretKeys, purpose: str) -> "DerivedKeys":
        return cls([derive_key(key, purpose) for key in secret_keys])

    def seal(self, message: bytes) -> bytes:
        """HMAC-SHA-256 under the newest key."""
        return hmac.digest(self._keys[0], message, "sha256")

    def seals(self, message: bytes) -> list[bytes]:
        """The same under each key, the newest first."""
        return [hmac.digest(key, message, "sha256") for key in self._keys]

    def made(self, seal: bytes, message: bytes) -> bool:
        """Whether it is the seal of that message under any of the keys."""
        return any(hmac.compare_digest(seal, ours) for ours in self.seals(message))
