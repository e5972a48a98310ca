"""A worker that is killed while it extracts: another goes on, and asks nothing again that was answered."""

import pytest

from tests.factories.knowledge import extracted, taken_in
from tests.fixtures.deadlines import eventually
from tests.fixtures.scripted_model import saying
from tests.fixtures.scripted_server import Stream

pytestmark = pytest.mark.anyio

FORM = {"type": "object", "properties": {"seller": {"type": "string"}, "total": {"type": "number"}}}
TEXT = (
    "The seller is Acme Ltd.\n\n" + "Nobody could say where the folders had gone. " * 600 + "\n\nThe total is 121.50."
)


@pytest.fixture
def place(fresh_database, make_arena):
    return make_arena(database={"database_url": fresh_database})


@pytest.fixture
def owner(person):
    return person


async def test_parts_that_were_answered_are_not_asked_for_again_when_the_worker_is_killed(
    place, client, make_document, make_answering, start_worker
):
    first = await start_worker(place.settings)
    begun_and_silent = Stream([b": nothing yet\n\n"], then="hold")
    model = await make_answering(
        saying({"value": {"seller": "Acme Ltd"}}), begun_and_silent, saying({"value": {"total": 121.5}})
    )
    document = await make_document("Invoice", TEXT, wait=False)
    await taken_in(client, document.id)
    body = {"schema": FORM, "model": model.name}
    begun = (await client.post(f"/api/v1/knowledge/documents/{document.id}/extract", json=body)).json()
    await eventually(lambda: len(model.asked) == 2, 20, "the second question")

    first.kill()
    await start_worker(place.settings)

    done = await extracted(client, begun["id"], 30)
    assert (done["status"], done["result"]) == ("ready", {"seller": "Acme Ltd", "total": 121.5})
    assert [("[@chunk 1]" in prompt) for prompt in model.prompts[:3]] == [True, False, False]
    assert model.asked[1].json["messages"] == model.asked[2].json["messages"]
