"""What an issuer of identities says of itself (OpenID Connect Discovery), and its keys.

Everything goes through the guarded way out: an issuer may name any address, and only its own is trusted beforehand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.config import OidcSettings, OutgoingSettings
from app.core.address_guard import DEFAULT_PORTS
from app.core.errors import UpstreamFailed
from app.core.fetched import Fetched
from app.core.outgoing import Outgoing, Unreachable
from app.core.public_addresses import ForbiddenAddress

log = structlog.stdlib.get_logger(__name__)

MOST_ANSWER_BYTES = 256 * 1024
KEPT_SECONDS = 3600.0
RENEWED_SECONDS = 5.0
_DISCOVERY = "/.well-known/openid-configuration"
_JSON = {"Accept": "application/json"}
_LOGGED_CHARACTERS = 200


class IssuerFailed(UpstreamFailed):
    """The issuer does not answer, or not as it should."""

    code = "oidc_issuer_failed"


def failed(reason: str) -> IssuerFailed:
    """The error for the user; the reason is the operator's, in the log."""
    log.warning("oidc_issuer_failed", reason=reason[:_LOGGED_CHARACTERS])
    return IssuerFailed("the provider of identities does not answer as it should; try again later")


def way_to_issuer(oidc: OidcSettings, outgoing: OutgoingSettings) -> Outgoing:
    """The guarded way out, open to the issuer's own host and port although they may be private."""
    allowed = outgoing.outgoing_allow
    if oidc.oidc_issuer is not None:
        parts = urlsplit(oidc.oidc_issuer)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        its_own = f"{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}"
        allowed = f"{allowed},{its_own}" if allowed else its_own
    return Outgoing(outgoing.model_copy(update={"outgoing_allow": allowed}), most_bytes=MOST_ANSWER_BYTES)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Of what an issuer says of itself, what is needed."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    token_auth_methods: tuple[str, ...]
    names_itself: bool  # `iss` comes with every answer (RFC 9207)


class Issuer:
    """One issuer; what it says is kept for an hour, and its keys asked for anew when it uses one that is unknown."""

    def __init__(self, name: str, outgoing: Outgoing) -> None:
        self.name = name
        self._outgoing = outgoing
        kept = {"kept_seconds": KEPT_SECONDS, "renewed_seconds": RENEWED_SECONDS}
        self._endpoints = Fetched(self._discover, **kept)
        self._keys = Fetched(self._fetch_keys, **kept)

    async def endpoints(self) -> Endpoints:
        return await self._endpoints.get()

    async def keys(self, *, anew: bool = False) -> KeySet:
        return await (self._keys.renew() if anew else self._keys.get())

    async def get(self, url: str, headers: Mapping[str, str] = _JSON) -> dict[str, Any]:
        """The JSON object at that address; raise `IssuerFailed`."""
        try:
            answer = await self._outgoing.get(url, headers)
        except (Unreachable, ForbiddenAddress) as error:
            raise failed(f"{url}: {error.detail}") from None
        if answer.status != 200:
            raise failed(f"{url} answered {answer.status}")
        return json_object(answer.body, url)

    async def post(self, url: str, form: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object of an answer that says whether it is an error; raise `IssuerFailed`."""
        sent = {**_JSON, "Content-Type": "application/x-www-form-urlencoded", **headers}
        try:
            answer = await self._outgoing.post(url, form, sent)
        except (Unreachable, ForbiddenAddress) as error:
            raise failed(f"{url}: {error.detail}") from None
        if answer.status not in {200, 400, 401}:
            raise failed(f"{url} answered {answer.status}")
        return answer.status, json_object(answer.body, url)

    async def close(self) -> None:
        await self._endpoints.close()
        await self._keys.close()

    async def _discover(self) -> Endpoints:
        document = await self.get(self.name.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != self.name:
            raise failed(f"it calls itself {document.get('issuer')!r}, not {self.name!r} as ARENA_OIDC_ISSUER does")
        methods = document.get("token_endpoint_auth_methods_supported")
        return Endpoints(
            authorization=self._address(document, "authorization_endpoint"),
            token=self._address(document, "token_endpoint"),
            keys=self._address(document, "jwks_uri"),
            userinfo=self._address(document, "userinfo_endpoint") if document.get("userinfo_endpoint") else None,
            token_auth_methods=tuple(map(str, methods)) if isinstance(methods, list) else (),
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _address(self, document: dict[str, Any], name: str) -> str:
        """An address that it names: on https, unless the issuer itself is not."""
        address = document.get(name)
        allowed = ("https://", "http://") if self.name.startswith("http://") else ("https://",)
        if not isinstance(address, str) or not address.startswith(allowed):
            raise failed(f"its {name} is {address!r}")
        return address

    async def _fetch_keys(self) -> KeySet:
        document = await self.get((await self.endpoints()).keys)
        try:
            return KeySet.import_key_set({"keys": [key for key in document["keys"] if isinstance(key, dict)]})
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise failed(f"its keys cannot be read: {error!r}") from None


def json_object(body: bytes, url: str) -> dict[str, Any]:
    """What an answer holds; raise `IssuerFailed` if that is no JSON object, or was too long."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise failed(f"{url} answered no JSON") from None
    if not isinstance(document, dict):
        raise failed(f"{url} answered no JSON object")
    return document
