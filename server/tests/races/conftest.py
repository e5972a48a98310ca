"""Races are run on a database of the test's own, so that what it holds at the end is what the race left."""

import pytest


@pytest.fixture
def place(make_place):
    return make_place()


@pytest.fixture
async def owner(make_user, place):
    return await make_user(at=place)
