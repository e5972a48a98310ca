"""What clients are held against: a server that answers as the test tells it to."""

from collections.abc import Iterator

import pytest

from tests.fixtures.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server
