"""The keys of access tokens as one process knows them: which signs, which verify, and when it looks for new ones.

Always holds: a token is verified with what is in memory; the keys are loaded every few seconds, and once more when a
token names an unknown key, but never more than once a second, however many such tokens come; without the database the
keys that were loaded last go on, each until it is retired. When a key becomes active or is retired is counted from the
moment of loading, by the database's clock, so that no two processes differ by more than a network round trip.
"""

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core.errors import Unavailable

log = structlog.stdlib.get_logger(__name__)

REFRESH_SECONDS = 3.0
LOOK_SECONDS = 1.0
LOAD_SECONDS = 5.0


class KeysUnknown(Unavailable):
    """The keys of access tokens could not be loaded, or none of them can be used here."""

    code = "signing_keys_unavailable"


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key as it was when it was loaded; `private` is None where it was sealed with a secret key that is not here."""

    kid: str
    public: Ed25519PublicKey
    private: Ed25519PrivateKey | None
    active_in_seconds: float
    retired_in_seconds: float | None

    @property
    def jwk(self) -> dict[str, str]:
        """Its public half (RFC 8037)."""
        own = {"kid": self.kid, "use": "sig", "alg": "EdDSA"}
        return {**_members(self.public), **own}


def thumbprint(public: Ed25519PublicKey) -> str:
    """The key's name: SHA-256 of its members in their canonical form (RFC 7638, RFC 8037 section 2)."""
    members = _members(public)
    canonical = ",".join(f'"{name}":"{members[name]}"' for name in sorted(members))
    return _base64url(hashlib.sha256(f"{{{canonical}}}".encode()).digest())


def _members(public: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(public.public_bytes_raw())}


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


class KeyRing:
    """`load` gives all keys that are published, the one that became or becomes active last first."""

    def __init__(
        self, load: Callable[[], Awaitable[Sequence[RingKey]]], clock: Callable[[], float] = monotonic
    ) -> None:
        self._fetch = load
        self._clock = clock
        self._keys: dict[str, RingKey] = {}
        self._loaded_at = self._tried_at = -float("inf")
        self._failed = True
        self._loading: asyncio.Task[None] | None = None

    def find(self, kid: str) -> RingKey | None:
        """The published key of that name."""
        key = self._keys.get(kid)
        return key if key is not None and self._is_published(key) else None

    def published(self) -> list[RingKey]:
        return [key for key in self._keys.values() if self._is_published(key)]

    def signing_key(self) -> tuple[str, Ed25519PrivateKey]:
        """The newest that is active, with its name; raise `KeysUnknown` if there is none."""
        for key in self._keys.values():
            if key.private is not None and key.active_in_seconds <= self._age() and self._is_published(key):
                return key.kid, key.private
        raise KeysUnknown("the keys of access tokens are not known here yet; try again shortly")

    async def load(self) -> None:
        """Load them now, or wait for those who are at it; raise `Unavailable`."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_once())
            self._loading.add_done_callback(self._stop_loading)
        await asyncio.shield(self._loading)

    def take(self, keys: Sequence[RingKey], asked_at: float) -> None:
        """Know these keys and no others, as they were at that time of the clock."""
        self._keys = {key.kid: key for key in keys}
        self._loaded_at, self._failed = asked_at, False

    async def look(self) -> None:
        """Load them, unless that was done within the last second.

        Raise `Unavailable` if the last try failed: whether the key exists is then not known.
        """
        if self._loading is not None or self._clock() - self._tried_at >= LOOK_SECONDS:
            await self.load()
        elif self._failed:
            raise KeysUnknown("the keys of access tokens could not be loaded; try again shortly")

    async def begin(self) -> None:
        """Load them if that can be done now; else `run` goes on trying."""
        try:
            await self.load()
        except Unavailable as error:
            log.warning("signing_keys_not_loaded", reason=type(error).__name__)

    async def run(self) -> None:
        """Load them every few seconds until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.begin()

    async def close(self) -> None:
        """Give up what is under way, and wait until it is gone."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def _load_once(self) -> None:
        asked_at = self._tried_at = self._clock()
        self._failed = True
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                self.take(await self._fetch(), asked_at)
        except TimeoutError:
            raise KeysUnknown("the keys of access tokens could not be loaded in time; try again shortly") from None

    def _stop_loading(self, loading: asyncio.Task[None]) -> None:
        self._loading = None
        if not loading.cancelled():
            loading.exception()  # whoever still waits is told

    def _age(self) -> float:
        return self._clock() - self._loaded_at

    def _is_published(self, key: RingKey) -> bool:
        return key.retired_in_seconds is None or self._age() < key.retired_in_seconds
