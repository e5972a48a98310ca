"""What clients are held against: a server that answers as the test tells it to; and the clients, of both kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from arena_client import ArenaClient, AsyncArenaClient
from tests.fixtures.driven_client import Driven
from tests.fixtures.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(params=["blocking", "asynchronous"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`ArenaClient`, or `AsyncArenaClient` driven as if it were one."""
    if request.param == "blocking":
        yield ArenaClient
        return
    with start_blocking_portal() as portal:
        yield lambda *args, **options: Driven(portal, AsyncArenaClient(*args, **options))
