"""Keys of access tokens: made, loaded, followed by the next ones.

A new key is published at once and signs only when every process has had time to load it; an older one stays published
until the last token that it signed has expired. So a rotation refuses nobody's token.
"""

from collections.abc import Sequence

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core.errors import Conflict
from app.core.key_ring import RingKey, thumbprint
from app.core.sealing import SealBroken, Sealer
from app.domain.audit import Action, By
from app.models.sealed import SIGNING_KEYS
from app.repositories.signing_keys import AgedKey
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

MARGIN_SECONDS = 60.0


class RotationUnderWay(Conflict):
    """The newest key is not active yet."""

    code = "rotation_under_way"


class SigningKeys:
    """The installation's keys of access tokens, their private halves sealed."""

    def __init__(self, uow: UnitOfWorkFactory, sealer: Sealer) -> None:
        self._uow = uow
        self._sealer = sealer

    async def load(self) -> list[RingKey]:
        """All that are published, as `KeyRing` wants them; the first one is made if there is none."""
        async with self._uow.reading() as work:
            found = await work.signing_keys.list_all()
        published = [aged for aged in found if not _is_retired(aged)]
        if len(published) < len(found):
            async with self._uow() as work:
                await work.signing_keys.delete_retired()
        return [self._opened(aged) for aged in published or await self._make_first()]

    async def rotate(self, overlap_seconds: float, longest_token_seconds: float) -> str:
        """Publish a new key, active after the overlap, and retire the others once it has outlived their tokens.

        Return its name; raise `RotationUnderWay` while another new key is not active yet.
        """
        async with self._uow() as work:
            await work.signing_keys.lock()
            await work.signing_keys.delete_retired()
            for aged in await work.signing_keys.list_all():
                if aged.active_in_seconds > 0:
                    seconds = aged.active_in_seconds
                    raise RotationUnderWay(f"a new key is published already, and active in {seconds:.0f} s")
            await work.signing_keys.retire_all(overlap_seconds + longest_token_seconds + MARGIN_SECONDS)
            work.audit.record(Action.KEYS_ROTATED, By())
            return await self._add(work, overlap_seconds)

    async def replace_at_once(self) -> str:
        """Make a new key and delete all others: every access token is refused within seconds, no session ends.

        For a key that leaked, or whose secret key is lost. Return the new one's name.
        """
        async with self._uow() as work:
            await work.signing_keys.lock()
            await work.signing_keys.retire_all(0)
            await work.signing_keys.delete_retired()
            work.audit.record(Action.KEYS_ROTATED, By(), at_once=True)
            return await self._add(work, 0)

    async def list_all(self) -> Sequence[AgedKey]:
        """The one that was or will be active last first."""
        async with self._uow.reading() as work:
            return await work.signing_keys.list_all()

    def is_openable(self, aged: AgedKey) -> bool:
        """Whether its private half can be read with the secret keys that are here."""
        return self._opened(aged).private is not None

    async def _make_first(self) -> Sequence[AgedKey]:
        """Of processes that start at once one makes the key, and the others find it."""
        async with self._uow() as work:
            await work.signing_keys.lock()
            found = [aged for aged in await work.signing_keys.list_all() if not _is_retired(aged)]
            if found:
                return found
            log.info("signing_key_made", kid=await self._add(work, 0))
            return await work.signing_keys.list_all()

    async def _add(self, work: UnitOfWork, active_in_seconds: float) -> str:
        private = Ed25519PrivateKey.generate()
        public = private.public_key()
        kid = thumbprint(public)
        sealed = self._sealer.seal(private.private_bytes_raw(), SIGNING_KEYS.place(kid))
        await work.signing_keys.add(kid, public.public_bytes_raw(), sealed, active_in_seconds)
        return kid

    def _opened(self, aged: AgedKey) -> RingKey:
        row = aged.row
        try:
            raw = self._sealer.unseal(row.private_key_sealed, SIGNING_KEYS.place(row.kid))
        except SealBroken:
            # Another process has a newer secret key already: its tokens are read, and signed with another key.
            public = Ed25519PublicKey.from_public_bytes(row.public_key)
            return RingKey(row.kid, public, None, aged.active_in_seconds, aged.retired_in_seconds)
        private = Ed25519PrivateKey.from_private_bytes(raw)
        return RingKey(row.kid, private.public_key(), private, aged.active_in_seconds, aged.retired_in_seconds)


def _is_retired(aged: AgedKey) -> bool:
    return aged.retired_in_seconds is not None and aged.retired_in_seconds <= 0
