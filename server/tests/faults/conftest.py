"""Faults are suffered by an installation on a database of its own, whose workers are processes that may be killed."""

import pytest

from tests.fixtures.trial import on_trial


@pytest.fixture
def place(fresh_database, make_arena):
    """An API on a database of its own; workers come as processes."""
    return make_arena(database={"database_url": fresh_database}, worker={"worker_drain_seconds": 20})


@pytest.fixture
async def trial(place, person):
    """Discussions with witnesses that outlive faults; `await trial.acquit()` judges them."""
    async with on_trial(person, place.settings) as trial:
        yield trial


@pytest.fixture
def models(make_model):
    """Names of models, each scripted as told and nobody else's: `models("tokens=8", "tokens=9")`."""
    return lambda *scripts: [make_model(script).name for script in scripts]
