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

        assert deleted.status_code == 204
        if forked.status_code == 404:
            continue
        assert forked.status_code == 201
        fork = forked.json()["id"]
        log = (await client.get(f"/api/v1/discussions/{fork}/events", headers={"Accept": "application/json"})).json()
        assert [event["seq"] for event in log["items"]] == list(range(1, forked.json()["last_seq"] + 1))
