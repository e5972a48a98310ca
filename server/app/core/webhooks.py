"""Secrets and signatures of webhooks, as `docs/external-agents.md` tells their receivers."""

import hmac
from base64 import urlsafe_b64encode
from uuid import UUID

from app.core.derived_keys import DerivedKeys, SecretKeys

SECRET_PREFIX = "arena_whsec_"  # noqa: S105 - what a secret begins with


class WebhookSigner:
    """An agent's secret follows from the installation's newest key and the agent's id: nothing is stored.

    All processes of an installation must have the same key. While it has older ones, webhooks are signed with what
    follows from those, too: an agent that was made before still knows only that secret.
    """

    def __init__(self, secret_keys: SecretKeys) -> None:
        self._keys = DerivedKeys.of(secret_keys, "arena webhook secrets 1")

    def secret_of(self, agent_id: UUID) -> str:
        """What the agent's receiver checks signatures with."""
        return self._secrets_of(agent_id)[0]

    def sign(self, agent_id: UUID, body: bytes, at_seconds: int) -> str:
        """The value of `X-Arena-Signature` for a body sent at that Unix time: a `v1` for each key, newest first."""
        signed = b"%d.%b" % (at_seconds, body)
        signatures = [hmac.digest(secret.encode(), signed, "sha256").hex() for secret in self._secrets_of(agent_id)]
        return ",".join([f"t={at_seconds}", *(f"v1={signature}" for signature in signatures)])

    def _secrets_of(self, agent_id: UUID) -> list[str]:
        seals = self._keys.seals(b"webhook|" + agent_id.bytes)
        return [SECRET_PREFIX + urlsafe_b64encode(seal).decode().rstrip("=") for seal in seals]
