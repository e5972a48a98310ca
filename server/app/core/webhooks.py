"""Secrets and signatures of webhooks, as `docs/external-agents.md` tells their receivers."""

import hmac
from base64 import urlsafe_b64encode
from uuid import UUID

from app.core.derived_keys import derive_key

SECRET_PREFIX = "arena_whsec_"  # noqa: S105


class WebhookSigner:
    """An agent's secret follows from the installation's key and the agent's id: nothing is stored.

    All processes of an installation must have the same key.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = derive_key(secret_key, "arena webhook secrets 1")

    def secret_of(self, agent_id: UUID) -> str:
        """What the agent's receiver checks signatures with."""
        secret = hmac.digest(self._key, b"webhook|" + agent_id.bytes, "sha256")
        return SECRET_PREFIX + urlsafe_b64encode(secret).decode().rstrip("=")

    def sign(self, agent_id: UUID, body: bytes, at_seconds: int) -> str:
        """The value of `X-Arena-Signature` for a body sent at that Unix time."""
        signed = b"%d.%b" % (at_seconds, body)
        return f"t={at_seconds},v1={hmac.digest(self.secret_of(agent_id).encode(), signed, 'sha256').hex()}"
