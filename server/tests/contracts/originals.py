"""What every `OriginalStore` promises. An implementation subclasses `OriginalsContract` and provides `store`."""

import asyncio
import os
from uuid import UUID, uuid4

import pytest

from app.services.knowledge.originals import PART_BYTES, OriginalMissing

SIZES = (1, PART_BYTES - 1, PART_BYTES, PART_BYTES * 9 + 1)


async def read(store, workspace_id: UUID, original_id: UUID) -> bytes:
    return b"".join([piece async for piece in store.get(workspace_id, original_id)])


class OriginalsContract:
    """The promises."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_is_kept_comes_back(self, store, workspace_id, size):
        original_id, data = uuid4(), os.urandom(size)

        await store.put(workspace_id, original_id, memoryview(data))

        assert await read(store, workspace_id, original_id) == data

    async def test_it_comes_in_pieces(self, store, workspace_id):
        original_id = uuid4()
        await store.put(workspace_id, original_id, memoryview(bytes(PART_BYTES * 4)))

        pieces = [len(piece) async for piece in store.get(workspace_id, original_id)]

        assert len(pieces) > 1
        assert sum(pieces) == PART_BYTES * 4

    async def test_what_is_written_again_is_as_it_was_last(self, store, workspace_id):
        original_id = uuid4()
        await store.put(workspace_id, original_id, memoryview(bytes(PART_BYTES * 2)))

        await store.put(workspace_id, original_id, memoryview(b"short"))

        assert await read(store, workspace_id, original_id) == b"short"

    async def test_what_is_deleted_is_missing_and_may_be_deleted_again(self, store, workspace_id):
        original_id = uuid4()
        await store.put(workspace_id, original_id, memoryview(b"data"))

        for _ in range(2):
            await store.delete(workspace_id, original_id)

        with pytest.raises(OriginalMissing):
            await read(store, workspace_id, original_id)

    async def test_each_workspace_has_its_own(self, store, workspace_id, other_workspace_id):
        original_id = uuid4()
        await store.put(workspace_id, original_id, memoryview(b"data"))

        await store.delete(other_workspace_id, original_id)

        with pytest.raises(OriginalMissing):
            await read(store, other_workspace_id, original_id)
        assert await read(store, workspace_id, original_id) == b"data"

    async def test_many_at_once_do_not_mix(self, store, workspace_id):
        every = {uuid4(): os.urandom(1000) for _ in range(10)}

        await asyncio.gather(*(store.put(workspace_id, one, memoryview(data)) for one, data in every.items()))

        for original_id, data in every.items():
            assert await read(store, workspace_id, original_id) == data
