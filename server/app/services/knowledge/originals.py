"""Originals: what documents were made of, kept in PostgreSQL, in a folder, or in an S3-compatible store.

Always holds: an original is whole before a document refers to it, and before it is begun a row says that it is loose,
which the transaction takes away that makes a document refer to it. So no document refers to nothing, and what a dead
process left is known, and cleared away after `LOOSE_SECONDS`.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import UUID

from app.config import OriginalSettings
from app.core.background import Errands
from app.core.errors import NotFound, Unavailable
from app.core.ids import new_id
from app.repositories.jobs import CHORES_QUEUE
from app.services.unit_of_work import UnitOfWorkFactory

PART_BYTES = 256 * 1024
PARTS_AT_ONCE = 8
LOOSE_SECONDS = 3600.0
CLEARED_AT_ONCE = 100
CLEAR_ORIGINALS_TASK = "clear_originals"


class OriginalsAway(Unavailable):
    """The place where originals are kept does not answer, or refuses us; a later try may succeed."""

    code = "originals_away"


class OriginalMissing(NotFound):
    """Somebody has removed it from where originals are kept."""

    code = "original_missing"


class OriginalStore(Protocol):
    """Where bytes are kept under an id. Implementations pass `tests/contracts/originals.py`."""

    async def put(self, workspace_id: UUID, original_id: UUID, data: memoryview) -> None:
        """Keep it whole; over one that is there. Raise `OriginalsAway`."""
        ...

    def get(self, workspace_id: UUID, original_id: UUID) -> AsyncIterator[bytes]:
        """Its bytes, a piece at a time; raise `OriginalMissing` or `OriginalsAway` with the first."""
        ...

    async def delete(self, workspace_id: UUID, original_id: UUID) -> None:
        """Forget it; one that is not there is forgotten already. Raise `OriginalsAway`."""
        ...


class PostgresOriginals:
    """In parts, in rows of the database."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def put(self, workspace_id: UUID, original_id: UUID, data: memoryview) -> None:
        async with self._uow(workspace_id) as work:
            await work.originals.delete_parts(original_id)
            step = PART_BYTES * PARTS_AT_ONCE
            for begin in range(0, len(data), step):
                piece = data[begin : begin + step]
                parts = [bytes(piece[at : at + PART_BYTES]) for at in range(0, len(piece), PART_BYTES)]
                await work.originals.add_parts(original_id, begin // PART_BYTES, parts)

    async def get(self, workspace_id: UUID, original_id: UUID) -> AsyncIterator[bytes]:
        number = 0
        while True:
            async with self._uow.reading(workspace_id) as work:
                part = await work.originals.find_part(original_id, number)
            if part is None and number == 0:
                raise OriginalMissing("the file of this document is gone")
            if part is None:
                return
            yield part
            number += 1

    async def delete(self, workspace_id: UUID, original_id: UUID) -> None:
        async with self._uow(workspace_id) as work:
            await work.originals.delete_parts(original_id)


class ObjectOriginals:
    """One object each, by workspace, in a folder or an S3-compatible store."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def put(self, workspace_id: UUID, original_id: UUID, data: memoryview) -> None:
        with _failures_told():
            await self._store.put_async(_key(workspace_id, original_id), bytes(data))

    async def get(self, workspace_id: UUID, original_id: UUID) -> AsyncIterator[bytes]:
        with _failures_told():
            found = await self._store.get_async(_key(workspace_id, original_id))
            async for piece in found.stream(min_chunk_size=PART_BYTES):
                yield bytes(piece)

    async def delete(self, workspace_id: UUID, original_id: UUID) -> None:
        try:
            with _failures_told():
                await self._store.delete_async(_key(workspace_id, original_id))
        except OriginalMissing:
            return


class Originals:
    """Keeps originals for documents, and clears away those that no document came to refer to."""

    def __init__(self, uow: UnitOfWorkFactory, store: OriginalStore) -> None:
        self._uow = uow
        self._store = store
        self._errands = Errands()

    async def keep(self, workspace_id: UUID, data: memoryview) -> UUID:
        """Write it under a new id, which `work.originals.tie` then makes a document's own."""
        original_id = new_id()
        # In a task of its own: what the caller does may be one transaction, and this must be committed before.
        await self._errands.begin(self._note_loose(workspace_id, original_id))
        await self._store.put(workspace_id, original_id, data)
        return original_id

    def read(self, workspace_id: UUID, original_id: UUID) -> AsyncIterator[bytes]:
        return self._store.get(workspace_id, original_id)

    async def read_whole(self, workspace_id: UUID, original_id: UUID) -> bytes:
        return b"".join([piece async for piece in self._store.get(workspace_id, original_id)])

    async def delete(self, workspace_id: UUID, original_id: UUID) -> None:
        """Forget one that no document refers to any more."""
        await self._store.delete(workspace_id, original_id)

    async def look_for_loose(self) -> None:
        """Queue the clearing if there is anything to clear."""
        async with self._uow() as work:
            if await work.left_overs.originals(LOOSE_SECONDS, 1):
                await work.jobs.defer_once(CLEAR_ORIGINALS_TASK, CHORES_QUEUE, CLEAR_ORIGINALS_TASK)

    async def clear_loose(self) -> None:
        """Clear away what dead processes left."""
        while True:
            async with self._uow.reading() as work:
                loose = await work.left_overs.originals(LOOSE_SECONDS, CLEARED_AT_ONCE)
            for original_id, workspace_id in loose:
                await self._clear(workspace_id, original_id)
            if not loose:
                return

    async def _clear(self, workspace_id: UUID, original_id: UUID) -> None:
        async with self._uow(workspace_id) as work:
            is_ours = await work.originals.give_up(original_id)
        if is_ours:
            await self._store.delete(workspace_id, original_id)
            async with self._uow(workspace_id) as work:
                await work.originals.forget_loose(original_id)

    async def _note_loose(self, workspace_id: UUID, original_id: UUID) -> None:
        async with self._uow(workspace_id) as work:
            await work.originals.note_loose(original_id)


def make_originals(settings: OriginalSettings, uow: UnitOfWorkFactory) -> Originals:
    """As `ARENA_ORIGINALS_URL` says."""
    return Originals(uow, _store_of(settings, uow))


def _store_of(settings: OriginalSettings, uow: UnitOfWorkFactory) -> OriginalStore:
    if settings.originals_url is None:
        return PostgresOriginals(uow)
    from obstore.store import LocalStore, S3Store  # noqa: PLC0415 - only where it is used

    parts = urlsplit(settings.originals_url)
    if parts.scheme == "file":
        # nosemgrep: outgoing-requests-are-guarded - it opens nothing, it is the way from a URL to a path
        return ObjectOriginals(LocalStore(url2pathname(parts.path), mkdir=True))
    secret = settings.s3_secret_access_key.get_secret_value() if settings.s3_secret_access_key else None
    named = {
        "endpoint": settings.s3_endpoint,
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": secret,
        "prefix": parts.path.strip("/") or None,
    }
    return ObjectOriginals(
        S3Store(
            parts.netloc,
            region=settings.s3_region,
            virtual_hosted_style_request=False,
            client_options={"allow_http": (settings.s3_endpoint or "").startswith("http://"), "timeout": "60s"},
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
            **{name: value for name, value in named.items() if value is not None},  # type: ignore[arg-type]
        )
    )


def _key(workspace_id: UUID, original_id: UUID) -> str:
    return f"{workspace_id}/{original_id}"


@contextmanager
def _failures_told() -> Iterator[None]:
    """Say what went wrong in our words: the library's hold addresses, and parts of keys."""
    from obstore.exceptions import BaseError, NotFoundError  # noqa: PLC0415 - only where it is used

    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise OriginalMissing("the file of this document is gone from where files are kept") from None
    except (BaseError, OSError) as error:
        raise OriginalsAway(f"the place where files are kept does not serve us: {type(error).__name__}") from None
