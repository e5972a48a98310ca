"""What comes to an agent's mind before it speaks, and summaries that several jobs would write."""

from uuid import UUID

import pytest

from app.config import ModelSettings
from app.repositories.summaries import Summary
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.memory.recall import Recall

pytestmark = pytest.mark.anyio

TEA, RENT, TRAINS = "Ada likes green tea.", "The team spends 40% of its money on rent.", "Trains to Vienna are late."
ABOUT_RENT = "How much do we pay for the rent of the office?"


@pytest.fixture
async def recall(uow):
    class NoCatalog:
        """Memories are of the local model, for which no workspace's providers are asked."""

    embeddings = EmbeddingCatalog(ModelSettings(), NoCatalog())
    yield Recall(uow, embeddings)
    await embeddings.close()


@pytest.fixture
def tell(client):
    async def tell(agent, *contents, http=client):
        told = [await http.post(f"/api/v1/agents/{agent.id}/memories", json={"content": one}) for one in contents]
        return [f"/api/v1/agents/{agent.id}/memories/{one.json()['id']}" for one in told]

    return tell


async def recalled(recall, owner, agent, about=ABOUT_RENT, k=3):
    found = await recall.recall(UUID(owner.workspace_id), UUID(agent.id), about, k)
    return [one.content for one in found]


async def test_what_is_relevant_comes_to_mind_first_and_no_more_than_asked_for(recall, owner, make_agent, tell):
    agent = await make_agent()
    await tell(agent, RENT, TEA, TRAINS)

    assert (await recalled(recall, owner, agent))[0] == RENT
    assert await recalled(recall, owner, agent, "green tea", k=1) == [TEA]


async def test_nothing_crosses_agents_or_workspaces(recall, owner, stranger, make_agent, tell):
    agent, other = await make_agent(), await make_agent("Optimist")
    foreign = await make_agent(by=stranger)
    await tell(agent, RENT)
    await tell(foreign, TRAINS, http=stranger.http)

    assert await recalled(recall, owner, other) == []
    assert await recalled(recall, owner, foreign) == []
    assert await recalled(recall, stranger, agent) == []
    assert await recalled(recall, owner, agent) == [RENT]


async def test_what_was_edited_or_forgotten_is_not_recalled_as_it_was(recall, client, owner, make_agent, tell):
    agent = await make_agent()
    edited, forgotten = await tell(agent, TEA, TRAINS)

    (await client.patch(edited, json={"content": RENT})).raise_for_status()
    (await client.delete(forgotten)).raise_for_status()

    assert await recalled(recall, owner, agent, f"{TEA} {TRAINS}") == [RENT]


async def test_that_it_came_to_mind_is_noted_later_and_changes_nothing_else(recall, client, owner, make_agent, tell):
    agent = await make_agent()
    [address, unasked] = await tell(agent, RENT, TEA)
    before = (await client.get(address)).json()
    await recalled(recall, owner, agent, k=1)
    await recalled(recall, owner, agent, k=1)
    assert (await client.get(address)).json() == before

    await recall.write()

    after = (await client.get(address)).json()
    assert before["recalled_at"] is None
    assert after["recalled_at"] is not None
    assert after == {**before, "recalled_at": after["recalled_at"], "recall_count": 1}
    assert (await client.get(unasked)).json()["recall_count"] == 0


async def test_an_older_job_never_overwrites_a_newer_summary(owner, make_discussion, uow, sql):
    discussion = await make_discussion(start=False)

    async def extend(text, through, known):
        async with uow(UUID(owner.workspace_id)) as work:
            return await work.summaries.extend(UUID(discussion.id), Summary(text, through, "openai/fake"), known)

    assert not await extend("of a summary that is not there", 9, 5)
    assert await extend("first", 5, 0)
    assert not await extend("first, once more", 6, 0)
    assert await extend("second", 9, 5)
    assert not await extend("late", 7, 5)
    kept = "SELECT text, through_seq FROM discussion_summaries WHERE discussion_id = %s"
    assert sql(kept, discussion.id) == [("second", 9)]
