"""Every column that holds sealed values, and how each value is bound to its place (`core/sealing.py`)."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import InstrumentedAttribute

from app.models.ai import Provider, ToolServer
from app.models.auth import OidcLogin, SigningKey, User
from app.models.idempotency import IdempotentRequest

Part = UUID | str | bytes


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """`keys` tell its rows apart; `tenant` is the column of the workspace that a row belongs to, if it has one."""

    column: InstrumentedAttribute[Any]
    keys: tuple[InstrumentedAttribute[Any], ...]
    tenant: InstrumentedAttribute[Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.column.class_.__tablename__}.{self.column.key}"

    def place(self, *key: Part) -> str:
        """What a value of the row with that key is sealed for: `table.column:row`, bytes as hexadecimal."""
        parts = (part.hex() if isinstance(part, bytes) else str(part) for part in key)
        return f"{self.name}:{':'.join(parts)}"


TOTP_SECRETS = SealedColumn(User.totp_secret_sealed, (User.id,))
SIGNING_KEYS = SealedColumn(SigningKey.private_key_sealed, (SigningKey.kid,))
PROVIDER_KEYS = SealedColumn(Provider.api_key_sealed, (Provider.id,), Provider.workspace_id)
TOOL_SERVER_TOKENS = SealedColumn(ToolServer.token_sealed, (ToolServer.id,), ToolServer.workspace_id)
OIDC_VERIFIERS = SealedColumn(OidcLogin.verifier_sealed, (OidcLogin.digest,))
IDEMPOTENT_BODIES = SealedColumn(IdempotentRequest.body_sealed, (IdempotentRequest.owner_id, IdempotentRequest.key))
SEALED_COLUMNS = (
    *(SIGNING_KEYS, TOTP_SECRETS, PROVIDER_KEYS, TOOL_SERVER_TOKENS),
    *(OIDC_VERIFIERS, IDEMPOTENT_BODIES),
)
