"""Requests that are done once, however often they are sent (draft-ietf-httpapi-idempotency-key-header).

Always holds: what a request does and the answer that is kept of it commit in one transaction, under a claim of its key
that nobody has taken since. So a crash leaves either both or neither; of two at once one does the work and the other is
told so; and a claim that a dead process left lapses within `CLAIM_SECONDS`. A request that fails has done nothing, so
its key is free again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import orjson
import structlog

from app.core.derived_keys import DerivedKeys, SecretKeys
from app.core.errors import Conflict, Invalid, Unavailable
from app.core.sealing import Sealer
from app.models.sealed import IDEMPOTENT_BODIES
from app.repositories.idempotency import KeptRequest, KeyClaim
from app.services.unit_of_work import JointWork, UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

CLAIM_SECONDS = 10.0
TRIES = 5


class IdempotencyMismatch(Invalid):
    """The key was used for another request."""

    code = "idempotency_mismatch"
    where = ("header", "idempotency-key")


class RequestInProgress(Conflict):
    """The same request is still being done; `retry_after_seconds` says when its claim lapses at the latest."""

    code = "idempotency_in_progress"

    def __init__(self, detail: str, retry_after_seconds: float) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The first answer, to be given again."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Idempotency:
    """Claims keys, and keeps answers."""

    def __init__(self, uow: UnitOfWorkFactory, secret_keys: SecretKeys, sealer: Sealer) -> None:
        self._uow = uow
        self._sealer = sealer
        # Of a request a seal is kept, to know it again; without our key that tells nothing of a password in it.
        self._fingerprints = DerivedKeys.of(secret_keys, "arena request fingerprints 1")

    async def begin(self, owner_id: UUID, key: str, *request: bytes) -> KeyClaim | KeptAnswer:
        """Take the key, or find the answer; raise `IdempotencyMismatch` or `RequestInProgress`.

        `request` is all of it that has to be the same, in parts.
        """
        whole = b"".join(len(part).to_bytes(8, "big") for part in request) + b"".join(request)
        fingerprint = self._fingerprints.seal(whole)
        for _ in range(TRIES):
            async with self._uow.reading() as work:
                claim = await work.idempotency.claim(owner_id, key, fingerprint, CLAIM_SECONDS)
                if claim is not None:
                    return claim
                kept = await work.idempotency.find(owner_id, key)
            # None: it failed and was forgotten just now.
            if kept is not None:
                return self._answer_of(owner_id, key, whole, kept)
        raise Unavailable("the same request fails again and again at this moment; try again shortly")

    def _answer_of(self, owner_id: UUID, key: str, request: bytes, kept: KeptRequest) -> KeptAnswer:
        if not self._fingerprints.made(kept.fingerprint, request):
            raise IdempotencyMismatch("this Idempotency-Key was used for another request; take a new one")
        if kept.status is None or kept.headers is None or kept.body_sealed is None:
            sentence = "the same request is still being done; ask again in a moment"
            raise RequestInProgress(sentence, kept.seconds_left)
        body = self._sealer.unseal(kept.body_sealed, IDEMPOTENT_BODIES.place(owner_id, key))
        return KeptAnswer(kept.status, kept.headers, body)

    @asynccontextmanager
    async def doing(self, claim: KeyClaim) -> AsyncIterator[JointWork]:
        """All units of work in the block are one, which `keep` commits; leaving it otherwise undoes them."""
        try:
            async with self._uow.joined() as joint:
                yield joint
        except BaseException:
            await self._release(claim)
            raise

    async def keep(self, joint: JointWork, claim: KeyClaim, answer: KeptAnswer) -> None:
        """Commit what was done together with its answer; raise `RequestInProgress` if another has the key by now."""
        sealed = self._sealer.seal(answer.body, IDEMPOTENT_BODIES.place(claim.owner_id, claim.key))
        headers = orjson.dumps(dict(answer.headers)).decode()
        async with self._uow() as work:
            if not await work.idempotency.keep(claim, answer.status, headers, sealed):
                raise RequestInProgress("the same request, sent again, has overtaken this one", CLAIM_SECONDS)
        await joint.commit()

    async def _release(self, claim: KeyClaim) -> None:
        """As well as it can be: a claim that stays lapses by itself."""
        try:
            async with self._uow.reading() as work:
                await work.idempotency.release(claim)
        except Unavailable as error:
            log.warning("claim_of_key_left", reason=error.code)
