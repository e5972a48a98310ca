"""HashiCorp Vault's key/value store, version 2, over its HTTP API: where the secret key may be kept.

The operator sets the address, so it is trusted as the database's is. Redirects are not followed: the token would go
with them. Nothing said here shows the token or what the store holds.
"""

import asyncio
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from app.config import VaultSettings
from app.core.errors import StartupFailed

ANSWER_SECONDS = 10.0
MOST_ANSWER_BYTES = 1024 * 1024
MOST_TOKEN_BYTES = 8 * 1024
_MEANINGS = {
    400: "it does not understand the request: is ARENA_VAULT_SECRET `mount/path#field`, and the mount of version 2?",
    403: "it refuses the token: may its policy read that secret, and has it expired?",
    404: "there is no such secret: see ARENA_VAULT_SECRET, ARENA_VAULT_NAMESPACE, and that it was not deleted",
    429: "it is a standby that does not answer: name the active one",
    472: "it is a replica that does not answer: name the active one",
    473: "it is a standby that does not answer: name the active one",
    501: "it is not initialised: run vault operator init",
    503: "it is sealed or in maintenance: run vault operator unseal",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """`mount/path#field`."""

    mount: str
    path: str
    field: str

    @classmethod
    def parse(cls, text: str | None) -> "_Place":
        address, separator, field = (text or "").partition("#")
        mount, _, path = address.strip("/").partition("/")
        if not (mount and path and separator and field):
            raise StartupFailed("ARENA_VAULT_SECRET must name the secret as mount/path#field, such as secret/arena#key")
        return cls(mount, path, field)

    def address(self, version: int | None) -> str:
        base = f"/v1/{quote(self.mount)}/data/{quote(self.path)}"
        return base if version is None else f"{base}?version={version}"


async def read_secrets(settings: VaultSettings) -> list[str]:
    """The secret's texts, the newest first: the field, a string or a list, and that of the version before.

    A version before that was deleted or destroyed counts no more. Raise `StartupFailed`.
    """
    place = _Place.parse(settings.vault_secret)
    token = _token(settings)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.to_thread(_read, settings, place, token)
    except TimeoutError:
        raise _failed(settings, f"it did not answer within {ANSWER_SECONDS:.0f} s") from None


def _read(settings: VaultSettings, place: _Place, token: str) -> list[str]:
    status, answer = _get(settings, place.address(None), token)
    if status != 200:
        raise _failed(settings, _MEANINGS.get(status, f"it answered {status}"))
    newest, version = _texts(settings, answer, place), _version(answer)
    if version < 2:
        return newest
    status, answer = _get(settings, place.address(version - 1), token)
    return newest + (_texts(settings, answer, place, may_lack=True) if status == 200 else [])


def _get(settings: VaultSettings, address: str, token: str) -> tuple[int, Any]:
    """Status and parsed body."""
    headers = {"X-Vault-Token": token, "X-Vault-Request": "true", "Accept": "application/json"}
    if settings.vault_namespace:
        headers["X-Vault-Namespace"] = settings.vault_namespace
    try:
        connection = _connect(settings)
        try:
            connection.request("GET", _prefix(settings) + address, headers=headers)
            response = connection.getresponse()
            body = response.read(MOST_ANSWER_BYTES)
        finally:
            connection.close()
    except TimeoutError:
        raise _failed(settings, "it does not answer") from None
    except (OSError, http.client.HTTPException) as error:
        raise _failed(settings, f"it cannot be reached: {getattr(error, 'strerror', None) or error!r}") from None
    try:
        return response.status, json.loads(body) if response.status == 200 else None
    except (ValueError, RecursionError):
        raise _failed(settings, "what it answered is no JSON") from None


def _connect(settings: VaultSettings) -> http.client.HTTPConnection:
    parts = urlsplit(settings.vault_url or "")
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=ANSWER_SECONDS)
    context = ssl.create_default_context(cafile=settings.vault_ca_file)
    return http.client.HTTPSConnection(host, parts.port, timeout=ANSWER_SECONDS, context=context)


def _prefix(settings: VaultSettings) -> str:
    return urlsplit(settings.vault_url or "").path.rstrip("/")


def _texts(settings: VaultSettings, answer: Any, place: _Place, *, may_lack: bool = False) -> list[str]:
    try:
        fields = answer["data"]["data"]
        value = fields.get(place.field)
    except (TypeError, LookupError, AttributeError):
        raise _failed(settings, "its answer is none of a key/value store of version 2") from None
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    if may_lack:
        return []
    raise _failed(settings, f"its secret has no field {place.field!r} that is a text or a list of texts")


def _version(answer: Any) -> int:
    try:
        return int(answer["data"]["metadata"]["version"])
    except (TypeError, LookupError, ValueError):
        return 1


def _token(settings: VaultSettings) -> str:
    """The token that is set, or what its file holds now: an agent of Vault's may renew it there."""
    given, path = settings.vault_token, settings.vault_token_file
    if (given is None) == (path is None):
        raise StartupFailed("Vault wants a token: set either ARENA_VAULT_TOKEN or ARENA_VAULT_TOKEN_FILE")
    if given is not None:
        token = given.get_secret_value().strip()
    else:
        try:
            with path.open("r", encoding="ascii") as file:  # type: ignore[union-attr]
                token = file.read(MOST_TOKEN_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise StartupFailed(f"{path} (ARENA_VAULT_TOKEN_FILE) cannot be read: {reason}") from None
    if not token or not token.isascii() or not token.isprintable():
        raise StartupFailed("Vault's token (ARENA_VAULT_TOKEN, ARENA_VAULT_TOKEN_FILE) is empty or not printable")
    return token


def _failed(settings: VaultSettings, reason: str) -> StartupFailed:
    parts = urlsplit(settings.vault_url or "")
    where = parts.netloc.rpartition("@")[2]
    return StartupFailed(f"the secret key cannot be read from Vault at {where} (ARENA_VAULT_URL): {reason}")
