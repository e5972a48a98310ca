"""What agents remember: told, listed, searched, edited, forgotten; nothing crosses agents or workspaces."""

import pytest

from app.domain.memories import MOST_MEMORIES
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

TEA, RENT, TRAINS = "Ada likes green tea.", "The team spends 40% of its money on rent.", "Trains to Vienna are late."


def at(agent, *more):
    return "/".join([f"/api/v1/agents/{agent.id}/memories", *more])


@pytest.fixture
def tell(client):
    """Tell an agent something, as the owner unless told otherwise."""

    async def tell(agent, content, importance=0.5, http=client):
        response = await http.post(at(agent), json={"content": content, "importance": importance})
        assert response.status_code == 201, response.text
        return response.json()

    return tell


async def listed(http, agent, **query):
    return [one["content"] for one in (await http.get(at(agent), params=query)).json()["items"]]


async def found(http, agent, query, k=10):
    response = await http.post(at(agent, "search"), json={"query": query, "k": k})
    assert response.status_code == 200, response.text
    return response.json()["items"]


async def test_a_memory_is_told_read_and_says_where_it_is_from(client, owner, make_agent):
    agent = await make_agent()

    told = await client.post(at(agent), json={"content": f"  {TEA} ", "importance": 0.9})

    memory = told.json()
    assert told.headers["Location"] == at(agent, memory["id"])
    assert (memory["content"], memory["importance"], memory["agent_id"]) == (TEA, 0.9, agent.id)
    assert (memory["source"], memory["sources"], memory["created_by"]) == ("manual", [], owner.id)
    assert (memory["recalled_at"], memory["recall_count"]) == (None, 0)
    assert (await client.get(at(agent, memory["id"]))).json() == memory


async def test_memories_are_listed_newest_first_and_by_their_words(client, make_agent, tell):
    agent = await make_agent()
    for content in (TEA, RENT, TRAINS):
        await tell(agent, content)

    assert await listed(client, agent) == [TRAINS, RENT, TEA]
    assert await listed(client, agent, q="MONEY on") == [RENT]
    assert await listed(client, agent, q="%") == [RENT]


async def test_search_finds_what_is_meant_first(client, make_agent, tell):
    agent = await make_agent()
    for content in (TEA, RENT, TRAINS):
        await tell(agent, content)

    items = await found(client, agent, "How much do we pay for the rent of the office?", k=2)

    assert len(items) == 2
    assert items[0]["content"] == RENT
    assert items[0]["relevance"] > items[1]["relevance"]
    assert 1 >= items[0]["score"] >= items[1]["score"] >= 0


async def test_that_somebody_searches_does_not_make_the_agent_remember_better(client, make_agent, tell):
    agent = await make_agent()
    memory = await tell(agent, TEA)

    await found(client, agent, "tea")

    assert (await client.get(at(agent, memory["id"]))).json() == memory


async def test_a_reworded_memory_is_found_by_its_new_words(client, make_agent, tell):
    agent = await make_agent()
    memory = await tell(agent, TEA)
    await tell(agent, RENT)

    changed = await client.patch(at(agent, memory["id"]), json={"content": TRAINS, "importance": 0.1})

    assert (changed.json()["content"], changed.json()["importance"]) == (TRAINS, 0.1)
    assert changed.json()["updated_at"] > memory["updated_at"]
    [first, second] = await found(client, agent, "the train to Vienna")
    assert (first["content"], second["content"]) == (TRAINS, RENT)
    assert await listed(client, agent, q="green") == []


async def test_a_forgotten_memory_is_gone_from_everywhere(client, make_agent, tell):
    agent = await make_agent()
    memory = await tell(agent, TEA)
    await tell(agent, RENT)

    assert (await client.delete(at(agent, memory["id"]))).status_code == 204

    problem(await client.get(at(agent, memory["id"])), 404, "not_found")
    problem(await client.delete(at(agent, memory["id"])), 404, "not_found")
    assert await listed(client, agent) == [RENT]
    assert [one["content"] for one in await found(client, agent, TEA)] == [RENT]


async def test_an_agent_can_be_made_to_forget_all(client, make_agent, tell):
    agent, other = await make_agent(), await make_agent("Optimist")
    await tell(agent, TEA)
    await tell(agent, RENT)
    await tell(other, TRAINS)

    assert (await client.delete(at(agent))).status_code == 204

    assert await listed(client, agent) == []
    assert await listed(client, other) == [TRAINS]


async def test_two_agents_never_see_each_others_memories(client, make_agent, tell):
    agent, other = await make_agent(), await make_agent("Optimist")
    memory = await tell(agent, TEA)

    assert await listed(client, other) == []
    assert await found(client, other, TEA) == []
    problem(await client.get(at(other, memory["id"])), 404, "not_found")
    problem(await client.patch(at(other, memory["id"]), json={"content": RENT}), 404, "not_found")
    problem(await client.delete(at(other, memory["id"])), 404, "not_found")
    assert await listed(client, agent) == [TEA]


async def test_a_deleted_agent_has_no_memories_left(client, owner, make_agent, tell, rows_of):
    agent = await make_agent()
    await tell(agent, TEA)

    await client.delete(f"/api/v1/agents/{agent.id}")

    problem(await client.get(at(agent)), 404, "not_found")
    assert rows_of(owner)["memories"] == []


async def test_a_viewer_may_read_memories_and_change_none(make_agent, tell, colleague):
    agent, viewer = await make_agent(), await colleague("viewer")
    memory = await tell(agent, TEA)

    assert await listed(viewer.http, agent) == [TEA]
    assert [one["content"] for one in await found(viewer.http, agent, "tea")] == [TEA]
    problem(await viewer.http.post(at(agent), json={"content": RENT}), 403, "forbidden")
    problem(await viewer.http.patch(at(agent, memory["id"]), json={"content": RENT}), 403, "forbidden")
    problem(await viewer.http.delete(at(agent, memory["id"])), 403, "forbidden")
    problem(await viewer.http.delete(at(agent)), 403, "forbidden")


async def test_beyond_its_room_an_agent_forgets_what_is_worth_least(client, owner, make_agent, tell, sql):
    agent = await make_agent()
    await tell(agent, TEA, importance=0.0)
    await tell(agent, RENT, importance=1.0)
    sql(
        "INSERT INTO memories (id, workspace_id, agent_id, content, importance, source)"
        " SELECT gen_random_uuid(), %s, %s, 'filler', 0.5, 'manual' FROM generate_series(1, %s)",
        *(owner.workspace_id, agent.id, MOST_MEMORIES - 2),
    )

    await tell(agent, TRAINS, importance=0.3)

    assert sql("SELECT count(*) FROM memories WHERE agent_id = %s", agent.id) == [(MOST_MEMORIES,)]
    assert await listed(client, agent, q="green") == []
    assert await listed(client, agent, q="rent") == [RENT]
    assert await listed(client, agent, q="trains") == [TRAINS]


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"content": ""}, {"content": " \n"}, {"content": "x" * 2_001}, {"content": "a\x00b"}),
        *({"content": TEA, "importance": 1.1}, {"content": TEA, "importance": -0.1}, {"content": None}),
        {"content": TEA, "source": "discussion"},
    ],
)
async def test_a_memory_that_makes_no_sense_is_refused_and_not_written(client, owner, make_agent, rows_of, body):
    agent = await make_agent()

    problem(await client.post(at(agent), json=body), 422, "validation_failed")

    assert rows_of(owner)["memories"] == []


@pytest.mark.parametrize("body", [{"content": None}, {"importance": None}, {"content": " "}, {"importance": "much"}])
async def test_a_change_that_makes_no_sense_is_refused(client, make_agent, tell, body):
    agent = await make_agent()
    memory = await tell(agent, TEA)

    problem(await client.patch(at(agent, memory["id"]), json=body), 422, "validation_failed")

    assert (await client.get(at(agent, memory["id"]))).json() == memory


@pytest.mark.parametrize("body", [{}, {"query": " "}, {"query": "tea", "k": 0}, {"query": "tea", "k": 10_000}])
async def test_a_search_that_makes_no_sense_is_refused(client, make_agent, body):
    agent = await make_agent()

    problem(await client.post(at(agent, "search"), json=body), 422, "validation_failed")
