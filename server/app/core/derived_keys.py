"""One key for each purpose, out of the installation's secret key."""

import hmac

SALT_WHEN_NONE = bytes(32)


def derive_key(secret_key: str, purpose: str) -> bytes:
    """32 bytes by HKDF-SHA-256 (RFC 5869) without salt, `purpose` being its info.

    Of a length of one hash it is two HMACs; a library for it would cost each worker 6 MB of memory.
    """
    extracted = hmac.digest(SALT_WHEN_NONE, secret_key.encode(), "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")
