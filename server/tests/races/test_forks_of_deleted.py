"""A fork while its parent is being deleted."""

import asyncio

import pytest

from app.domain.discussion import Status

pytestmark = pytest.mark.anyio


async def test_a_fork_of_a_discussion_that_is_being_deleted_is_whole_or_not_found(client, make_discussion):
    for _ in range(6):
        parent = await make_discussion(status=Status.DRAFT)
        address = f"/api/v1/discussions/{parent.id}"

        forked, deleted = await asyncio.gather(
            client.post(f"{address}/fork", json={"start": False}), client.delete(address)
        )

        assert (forked.status_code in {201, 404}, deleted.status_code) == (True, 204)
