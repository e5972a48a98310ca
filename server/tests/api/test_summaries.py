"""Long discussions are summarised on the side: what all could read, each summary on top of the one before."""

import pytest

from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import has_status

pytestmark = pytest.mark.anyio

SHORT = "reply=They%20agreed."
OPENAI_CONTEXT = 1_024


@pytest.fixture
def assistant(make_model):
    return make_model(SHORT)


@pytest.fixture
def place(make_place, assistant):
    return make_place(models={"assistant_model": assistant.name, "openai_context_tokens": OPENAI_CONTEXT})


@pytest.fixture
def owner(person):
    return person


async def test_what_no_prompt_can_hold_is_summarised_again_and_again_without_whispers(
    client, make_agent, make_discussion, make_model, assistant, fresh_database
):
    speaking = make_model("tokens=100&delay_ms=3")
    agent = await make_agent(model=speaking.name, params={"max_tokens": 120})
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 14}, start=False)
    seat = discussion.participants[0]["id"]
    address = f"/api/v1/discussions/{discussion.id}"
    hidden = {"content": "The key is under the mat.", "visible_to": [seat]}
    (await client.post(f"{address}/messages", json=hidden)).raise_for_status()

    await client.post(f"{address}/start")
    await eventually(lambda: has_status(client, discussion, "ended"), 20, "the end")
    idle = "SELECT count(*) FROM procrastinate_jobs"
    await eventually(lambda: rows(fresh_database, idle) == [(0,)], 15, "an empty queue")

    [(text, through, model)] = rows(fresh_database, "SELECT text, through_seq, model FROM discussion_summaries")
    said = (await client.get(f"{address}/messages", params={"limit": 100})).json()["items"]
    assert (text, model) == ("They agreed.", assistant.name)
    assert through in [message["seq"] for message in said]
    assert "They agreed." not in str(speaking.prompts[0])
    assert "They agreed." in str(speaking.prompts[-1])
    told = [user["content"] for _system, user in assistant.prompts]
    assert "Summary so far" not in told[0]
    assert all("Summary so far:\nThey agreed." in prompt for prompt in told[1:])
    assert "under the mat" not in "".join(told)
    covered = [message["seq"] for message in said if message["seq"] <= through and not message["visible_to"]]
    assert ["".join(told).count(f"#{seq}]") for seq in covered] == [1] * len(covered)


async def test_a_short_discussion_is_not_summarised(client, make_discussion, assistant, fresh_database):
    discussion = await make_discussion()
    await eventually(lambda: has_status(client, discussion, "ended"), 10, "the end")

    assert rows(fresh_database, "SELECT count(*) FROM procrastinate_jobs WHERE task_name LIKE 'summ%%'") == [(0,)]
    assert assistant.requests == []
