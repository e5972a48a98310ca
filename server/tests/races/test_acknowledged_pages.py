"""Whoever reads a page after a message was acknowledged finds it there, whichever process they ask."""

import asyncio

import pytest

from app.domain.discussion import Status

pytestmark = pytest.mark.anyio

WRITERS, READERS, WORDS = 3, 6, 25


@pytest.fixture
def elsewhere(place, make_arena, fresh_database):
    """A second API process of the same installation."""
    return make_arena(database={"database_url": fresh_database})


async def test_no_page_is_older_than_what_was_acknowledged_before_it_was_asked_for(
    owner, connect, place, elsewhere, make_discussion
):
    talk = await make_discussion(by=owner, status=Status.DRAFT)
    address = f"/api/v1/discussions/{talk.id}/messages"
    doors = [await connect(owner.access_token, at=at) for at in (place, elsewhere)]
    acknowledged, is_over, compared = set(), asyncio.Event(), 0

    async def write(number):
        for word in range(WORDS):
            said = await doors[number % 2].post(address, json={"content": f"{number} says {word}"})
            assert said.status_code == 201, said.text
            acknowledged.add(said.json()["message"]["id"])

    async def read(number):
        nonlocal compared
        while not is_over.is_set():
            wanted = set(acknowledged)
            page = (await doors[number % 2].get(address, params={"limit": 200})).json()["items"]
            assert wanted <= {message["id"] for message in page}
            compared += bool(wanted)

    readers = [asyncio.create_task(read(number)) for number in range(READERS)]
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    is_over.set()
    await asyncio.gather(*readers)

    assert len(acknowledged) == WRITERS * WORDS
    assert compared > READERS * WRITERS
