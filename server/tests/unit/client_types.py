"""What type checkers make of the clients; checked by mypy, never run."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from arena_client import (
    Agent,
    ArenaClient,
    AsyncArenaClient,
    AsyncEventStream,
    Discussion,
    EventStream,
    StreamEvent,
)


def blocking(arena: ArenaClient) -> None:
    assert_type(arena.agents.create("Optimist", params={"temperature": 0.5}), Agent)
    assert_type(arena.agents.list(q="opt"), Iterator[Agent])
    assert_type(arena.discussions.leave("d1", "p1"), None)
    assert_type(arena.discussions.stream("d1", after="3.4"), EventStream)
    assert_type(next(arena.notifications()), StreamEvent)
    arena.agents.create("Optimist", model=3)  # type: ignore[arg-type]
    arena.agents.get()  # type: ignore[call-arg]


async def asynchronous(arena: AsyncArenaClient) -> None:
    assert_type(await arena.agents.create("Optimist", params={"temperature": 0.5}), Agent)
    assert_type(arena.agents.list(q="opt"), AsyncIterator[Agent])
    assert_type(arena.discussions.stream("d1", after="3.4"), AsyncEventStream)
    async for event in arena.discussions.stream("d1"):
        assert_type(event, StreamEvent)
        assert_type(event.snapshot, Discussion | None)
    await arena.agents.create("Optimist", model=3)  # type: ignore[arg-type]
    await arena.agents.get()  # type: ignore[call-arg]
