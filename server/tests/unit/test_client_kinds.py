"""Both kinds of client are one client, and are shown as what they are."""

import inspect
from collections.abc import AsyncIterator, Iterator

import pytest

from arena_client import (
    Agent,
    ArenaClient,
    AsyncArenaClient,
    AsyncEventStream,
    EventStream,
    async_resources,
    resources,
)


def public(kind):
    return {name: member for name, member in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [
        (ArenaClient, AsyncArenaClient),
        (resources.Agents, async_resources.AsyncAgents),
        (resources.Knowledge, async_resources.AsyncKnowledge),
        (resources.Discussions, async_resources.AsyncDiscussions),
        (EventStream, AsyncEventStream),
    ],
)
def test_they_can_do_the_same(blocking, asynchronous):
    theirs = {"close" if name == "aclose" else name: member for name, member in public(asynchronous).items()}

    assert theirs.keys() == public(blocking).keys()
    for name, member in public(blocking).items():
        if inspect.isroutine(member):
            assert inspect.signature(theirs[name]).parameters == inspect.signature(member).parameters


@pytest.mark.parametrize(("client", "many"), [(ArenaClient, Iterator), (AsyncArenaClient, AsyncIterator)])
def test_methods_show_what_they_take_and_give(client, many):
    agents = client("http://arena.example").agents
    create = inspect.signature(agents.create)

    assert (agents.create.__name__, agents.create.__doc__.partition(";")[0]) == ("create", "Create an agent")
    assert [*create.parameters] == ["name", "model", "persona", "handle", "params", "fields"]
    assert create.return_annotation is Agent
    assert inspect.signature(agents.list).return_annotation == many[Agent]


def test_only_those_that_must_be_awaited_are_coroutines():
    agents = AsyncArenaClient("http://arena.example").agents

    assert inspect.iscoroutinefunction(agents.create)
    assert not inspect.iscoroutinefunction(agents.list)
