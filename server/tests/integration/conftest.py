"""What models are asked of: a provider of the test's own, whose requests are all this test's."""

from collections.abc import AsyncIterator

import pytest

from bench.fake_model import FakeModelServer


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server
