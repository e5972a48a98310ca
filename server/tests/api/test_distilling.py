"""After a discussion, agents with long-term memory keep what they learned: once, with its source, and only theirs."""

import json
from urllib.parse import quote

import pytest

from app.domain.discussion import Status
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import has_status

pytestmark = pytest.mark.anyio

RENT = "The team spends 40% of its money on rent."
LONG_TERM = {"memory": {"long_term": True}}
EVERYWHERE = list(range(1, 30))


def saying(*facts, importance=6, more=""):
    """The script of a model that distils these facts from whatever messages it is shown."""
    found = [{"fact": fact, "importance": importance, "seqs": EVERYWHERE} for fact in facts]
    return f"reply={quote(json.dumps({'facts': found}))}{more}"


@pytest.fixture
def assistant(make_model):
    return make_model(saying(RENT))


@pytest.fixture
def place(make_place, assistant):
    return make_place(models={"assistant_model": assistant.name})


@pytest.fixture
def owner(person):
    return person


@pytest.fixture
def settled(fresh_database):
    """Wait until no job is left but those that are to be done much later."""
    left = "SELECT count(*) FROM procrastinate_jobs WHERE scheduled_at IS NULL OR scheduled_at < now() + '1 minute'"

    async def wait():
        await eventually(lambda: rows(fresh_database, left) == [(0,)], 15, "an empty queue")

    return wait


async def memories_of(http, agent):
    return (await http.get(f"/api/v1/agents/{agent.id}/memories")).json()["items"]


async def messages_of(http, discussion):
    return (await http.get(f"/api/v1/discussions/{discussion['id']}/messages")).json()["items"]


async def ended(http, discussion):
    await eventually(lambda: has_status(http, discussion, "ended"), 10, "the end")


async def test_an_agent_remembers_what_it_heard_and_where(client, make_agent, make_discussion, assistant, settled):
    remembering, other = await make_agent(**LONG_TERM), await make_agent("Optimist")

    discussion = await make_discussion(agents=[remembering, other])
    await ended(client, discussion)
    await settled()

    [memory] = await memories_of(client, remembering)
    said = await messages_of(client, discussion)
    assert (memory["content"], memory["importance"], memory["source"]) == (RENT, 0.6, "discussion")
    assert memory["sources"] == [{"discussion_id": discussion.id, "seqs": [one["seq"] for one in said]}]
    assert memory["created_by"] is None
    assert await memories_of(client, other) == []
    [prompt] = assistant.prompts
    assert [message["role"] for message in prompt] == ["system", "user"]
    assert all(f"[@{one['handle']} #{one['seq']}] {one['content']}" in prompt[1]["content"] for one in said)


async def test_whoever_stops_a_discussion_lets_it_be_remembered_but_for_whispers_to_others(
    client, owner, make_agent, make_discussion, assistant, settled
):
    first, second = await make_agent(**LONG_TERM), await make_agent("Optimist", **LONG_TERM)
    discussion = await make_discussion(
        participants=[{"user_id": owner.id}, {"agent_id": first.id}, {"agent_id": second.id}]
    )
    seats = {seat["handle"]: seat["id"] for seat in discussion.participants}
    address = f"/api/v1/discussions/{discussion.id}"
    hidden = {"content": "The key is under the mat.", "visible_to": [seats["skeptic"]]}
    (await client.post(f"{address}/messages", json={"content": "Out loud."})).raise_for_status()
    (await client.post(f"{address}/pause")).raise_for_status()
    (await client.post(f"{address}/messages", json=hidden)).raise_for_status()

    (await client.post(f"{address}/stop")).raise_for_status()
    await settled()

    told = {
        prompt[0]["content"].partition("(@")[2].partition(")")[0]: prompt[1]["content"] for prompt in assistant.prompts
    }
    assert set(told) == {"skeptic", "optimist"}
    assert all("Out loud." in words for words in told.values())
    assert "under the mat" in told["skeptic"]
    assert "under the mat" not in told["optimist"]
    assert [len(await memories_of(client, agent)) for agent in (first, second)] == [1, 1]


async def test_what_is_heard_again_is_one_memory_that_matters_more_and_names_both_discussions(
    client, make_agent, make_discussion, settled
):
    agent = await make_agent(**LONG_TERM)

    made = []
    for _ in range(2):
        made.append(await make_discussion(agents=[agent]))
        await ended(client, made[-1])
        await settled()

    [memory] = await memories_of(client, agent)
    assert {source["discussion_id"] for source in memory["sources"]} == {one.id for one in made}
    assert 0.6 < memory["importance"] < 0.8


async def test_what_was_learned_in_one_discussion_is_known_in_the_next(
    client, make_agent, make_discussion, make_model, settled
):
    model = make_model("tokens=4")
    agent = await make_agent(model=model.name, **LONG_TERM)
    for _ in range(2):
        await ended(client, await make_discussion(agents=[agent], limits={"max_turns": 1}))
        await settled()

    first, second = model.prompts
    assert RENT not in str(first)
    assert [message["role"] for message in second if RENT in message["content"]] == ["user"]


async def test_a_persons_wording_stays_when_the_agent_hears_it_again(client, make_agent, make_discussion, settled):
    agent = await make_agent(**LONG_TERM)
    told = {"content": "Team spends 40% of its money on rent", "importance": 0.2}
    (await client.post(f"/api/v1/agents/{agent.id}/memories", json=told)).raise_for_status()

    await ended(client, await make_discussion(agents=[agent]))
    await settled()

    [memory] = await memories_of(client, agent)
    assert (memory["content"], memory["source"]) == (told["content"], "manual")
    assert memory["importance"] > 0.6
    assert len(memory["sources"]) == 1


async def test_a_deleted_discussion_leaves_the_memory_without_its_source(client, make_agent, make_discussion, settled):
    agent = await make_agent(**LONG_TERM)
    discussion = await make_discussion(agents=[agent])
    await ended(client, discussion)
    await settled()

    (await client.delete(f"/api/v1/discussions/{discussion.id}")).raise_for_status()

    [memory] = await memories_of(client, agent)
    assert (memory["content"], memory["sources"]) == (RENT, [])


async def test_a_job_that_comes_twice_keeps_each_fact_once(
    client, make_agent, make_discussion, assistant, settled, fresh_database
):
    agent = await make_agent(**LONG_TERM)
    discussion = await make_discussion(agents=[agent])
    await ended(client, discussion)
    await settled()
    again = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) SELECT 'assistant', 'remember_discussion',"
        " jsonb_build_object('workspace_id', workspace_id, 'discussion_id', id, 'agent_id', %s::text) FROM discussions"
    )

    rows(fresh_database, again, agent.id)
    rows(fresh_database, again, agent.id)
    await settled()

    [memory] = await memories_of(client, agent)
    assert memory["importance"] == 0.6
    assert len(assistant.requests) == 1


async def test_an_agent_that_was_told_to_remember_nothing_meanwhile_remembers_nothing(
    client, make_agent, make_discussion, assistant, settled
):
    agent = await make_agent(**LONG_TERM)
    draft = await make_discussion(status=Status.DRAFT, agents=[agent])
    await client.patch(f"/api/v1/agents/{agent.id}", json={"memory": {"long_term": False}})

    await client.post(f"/api/v1/discussions/{draft.id}/start")
    await ended(client, draft)
    await settled()

    assert await memories_of(client, agent) == []
    assert assistant.requests == []


class TestAModelThatFails:
    @pytest.fixture
    def assistant(self, make_model):
        return make_model(saying(RENT, more="&fail_times=1&status=500"))

    async def test_it_is_asked_again(self, client, make_agent, make_discussion, assistant, settled):
        agent = await make_agent(**LONG_TERM)

        await ended(client, await make_discussion(agents=[agent]))
        await settled()

        assert [memory["content"] for memory in await memories_of(client, agent)] == [RENT]
        assert len(assistant.requests) == 2


class TestWithoutAnAssistant:
    @pytest.fixture
    def place(self, make_place):
        return make_place()

    async def test_nothing_is_remembered_and_nothing_waits(self, client, make_agent, make_discussion, settled):
        agent = await make_agent(**LONG_TERM)

        await ended(client, await make_discussion(agents=[agent]))
        await settled()

        assert await memories_of(client, agent) == []


class TestBudgets:
    @pytest.fixture
    def place(self, make_place, assistant):
        budgets = {"workspace_tokens_per_day": 5_000}
        return make_place(models={"assistant_model": assistant.name}, budgets=budgets)

    async def spent(self, client):
        return (await client.get("/api/v1/usage")).json()["workspace"]["tokens"]

    async def test_what_distilling_takes_is_spent_of_the_day(self, client, make_agent, make_discussion, settled):
        agent = await make_agent(params={"max_tokens": 20}, **LONG_TERM)
        discussion = await make_discussion(agents=[agent], limits={"max_turns": 1})
        await ended(client, discussion)
        usage = (await client.get(f"/api/v1/discussions/{discussion.id}")).json()["usage"]

        await settled()

        more = await self.spent(client) - usage["prompt_tokens"] - usage["completion_tokens"]
        assert len(await memories_of(client, agent)) == 1
        assert 50 < more < 1_200

    async def test_without_room_in_the_day_nobody_is_asked_until_it_renews(
        self, client, make_agent, make_discussion, assistant, settled, fresh_database
    ):
        agent = await make_agent(params={"max_tokens": 20}, **LONG_TERM)
        draft = await make_discussion(status=Status.DRAFT, agents=[agent], limits={"max_turns": 1})
        rows(
            fresh_database,
            "INSERT INTO daily_spending (scope, scope_id, day, tokens) SELECT 'workspace', workspace_id,"
            " (now() AT TIME ZONE 'UTC')::date, 4000 FROM discussions",
        )

        await client.post(f"/api/v1/discussions/{draft.id}/start")
        await ended(client, draft)
        await settled()

        assert assistant.requests == []
        later = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'remember_discussion' AND status = 'todo'"
        assert rows(fresh_database, later) == [(1,)]
