"""Races are run on a database of the test's own, so that what it holds at the end is what the race left."""

import pytest


@pytest.fixture
def place(fresh_database, make_arena):
    """An installation with a worker on a database of its own."""
    return make_arena(with_worker=True, database={"database_url": fresh_database})


@pytest.fixture
async def owner(make_user, place):
    return await make_user(at=place)
