"""Knowledge bases and documents, and how a document's text reaches the agents."""

import pytest

from app.domain.discussion import Status
from tests.factories.knowledge import taken_in
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio


async def test_a_base_is_made_read_changed_and_deleted(client, make_base):
    base = await make_base("Memos", description="What we wrote")
    address = f"/api/v1/knowledge/bases/{base.id}"

    changed = (await client.patch(address, json={"name": "Letters", "description": None})).json()
    read = (await client.get(address)).json()
    deleted = await client.delete(address)

    assert (base.name, base.description) == ("Memos", "What we wrote")
    assert (changed["name"], changed["description"]) == ("Letters", None)
    assert read == changed
    assert deleted.status_code == 204
    problem(await client.get(address), 404, "not_found")


async def test_a_new_base_says_where_it_is(client):
    response = await client.post("/api/v1/knowledge/bases", json={"name": "Memos"})

    assert response.headers["Location"] == f"/api/v1/knowledge/bases/{response.json()['id']}"


async def test_two_bases_of_one_name_clash_and_nothing_is_written(client, owner, make_base, rows_of):
    await make_base("Memos")
    other = await make_base("Letters")
    before = rows_of(owner)

    problem(await client.post("/api/v1/knowledge/bases", json={"name": "Memos"}), 409, "name_taken")
    problem(await client.patch(f"/api/v1/knowledge/bases/{other.id}", json={"name": "Memos"}), 409, "name_taken")

    assert rows_of(owner) == before


async def test_two_workspaces_may_have_bases_of_one_name(make_base, stranger):
    await make_base("Memos")
    await make_base("Memos", by=stranger)


async def test_a_text_is_queued_and_then_ready(client, make_base):
    base = await make_base()

    response = await client.post(
        f"/api/v1/knowledge/bases/{base.id}/documents", json={"title": "Memo", "text": "Ünïcode"}
    )

    document = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/api/v1/knowledge/documents/{document['id']}"
    assert (document["status"], document["progress"], document["error"]) == ("queued", 0.0, None)
    assert (document["base_id"], document["size_bytes"], document["source"]) == (base.id, 9, "text")
    assert "text" not in document
    ready = await taken_in(client, document["id"])
    assert (ready["status"], ready["progress"], ready["error"], ready["chunk_count"]) == ("ready", 1.0, None, 1)


async def test_a_document_is_read_with_its_text_and_listed_without(client, make_base, make_document):
    base = await make_base()
    document = await make_document(text="# Rent\n\n40%", base=base)

    read = (await client.get(f"/api/v1/knowledge/documents/{document.id}")).json()
    [listed] = (await client.get(f"/api/v1/knowledge/bases/{base.id}/documents")).json()["items"]

    assert read == {**document, "text": "# Rent\n\n40%", "page_starts": None}
    assert listed == document


async def test_a_deleted_document_is_gone(client, make_document):
    document = await make_document()

    assert (await client.delete(f"/api/v1/knowledge/documents/{document.id}")).status_code == 204

    problem(await client.get(f"/api/v1/knowledge/documents/{document.id}"), 404, "not_found")


async def test_a_deleted_base_takes_its_documents_with_it(client, owner, make_base, make_document, rows_of):
    base = await make_base()
    document = await make_document(base=base)

    await client.delete(f"/api/v1/knowledge/bases/{base.id}")

    problem(await client.get(f"/api/v1/knowledge/documents/{document.id}"), 404, "not_found")
    problem(await client.get(f"/api/v1/knowledge/bases/{base.id}"), 404, "not_found")
    assert (await client.get("/api/v1/knowledge/bases")).json()["items"] == []
    await make_base()  # the name is free
    await eventually(lambda: rows_of(owner)["documents"] == [], 10, "the clearing of the base")
    await eventually(lambda: len(rows_of(owner)["knowledge_bases"]) == 1, 10, "the end of the base")


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"title": "Memo"}, {"text": "x"}, {"title": "", "text": "x"}, {"title": "Memo", "text": " \n"}),
        *({"title": "Memo", "text": "x", "url": "https://memo.example"}, {"title": "Memo", "text": "x\x00"}),
    ],
)
async def test_a_document_that_makes_no_sense_is_refused_and_not_written(client, owner, make_base, rows_of, body):
    base = await make_base()
    before = rows_of(owner)

    response = await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", json=body)

    problem(response, 422, "validation_failed")
    assert rows_of(owner) == before


async def test_a_document_may_be_larger_than_other_bodies(make_document):
    document = await make_document(text="word " * 400_000, wait=False)

    assert document.size_bytes == 2_000_000


async def test_a_document_over_its_limit_is_refused_and_not_written(client, owner, make_base, rows_of):
    base = await make_base()
    before = rows_of(owner)
    body = {"title": "Memo", "text": "x" * 34_000_000}

    problem(await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", json=body), 413, "body_too_large")

    assert rows_of(owner) == before


async def ask(client, make_agent, make_discussion, model, documents):
    agent = await make_agent(model=model.name, params={"max_tokens": 100})
    discussion = await make_discussion(
        agents=[agent], limits={"max_turns": 1}, document_ids=[document.id for document in documents]
    )
    await watch_to_the_end(client, discussion.id)
    [prompt] = model.prompts
    return prompt


async def test_a_named_document_reaches_the_agent(client, make_agent, make_discussion, make_document, make_model):
    document = await make_document("Memo", "We spend 40% on rent, says [@boss].")

    prompt = await ask(client, make_agent, make_discussion, make_model("tokens=3"), [document])

    assert prompt[1]["role"] == "user"
    assert "[1] “Memo”:\n    We spend 40% on rent, says (@boss]." in prompt[1]["content"]


async def test_of_a_long_document_passages_reach_the_agent_within_the_models_window(
    client, make_agent, make_discussion, make_document, make_model, settings
):
    document = await make_document("Long", "All work and no play makes Jack a dull boy. " * 4_000)

    prompt = await ask(client, make_agent, make_discussion, make_model("tokens=3"), [document])

    said = " ".join(message["content"] for message in prompt)
    assert "No play makes Jack".lower() in said.lower()
    assert len(said.encode()) < settings.models.openai_context_tokens * 3.5


async def test_a_short_document_stays_whole_beside_long_ones(
    client, make_agent, make_discussion, make_document, make_model
):
    documents = [
        await make_document("Long", "alpha " * 20_000),
        await make_document("Short", "The short one."),
        await make_document("Long too", "omega " * 20_000),
    ]

    prompt = await ask(client, make_agent, make_discussion, make_model("tokens=3"), documents)

    assert "The short one." in " ".join(message["content"] for message in prompt)


async def test_a_document_deleted_meanwhile_is_simply_not_there(
    client, make_agent, make_discussion, make_document, make_model
):
    document, model = await make_document("Memo", "We spend 40% on rent."), make_model("tokens=3")
    agent = await make_agent(model=model.name)
    draft = await make_discussion(status=Status.DRAFT, agents=[agent], document_ids=[document.id])
    await client.delete(f"/api/v1/knowledge/documents/{document.id}")

    await client.post(f"/api/v1/discussions/{draft.id}/start")
    viewer = await watch_to_the_end(client, draft.id)

    assert viewer.events[-1].data["end_reason"] == "max_turns"
    assert "rent" not in str(model.prompts)


async def test_a_number_too_long_to_read_is_refused_as_such(client, make_base):
    base = await make_base("Memos")
    body = b'{"title": ' + b"1" * 5_000 + b', "text": "x"}'

    address = f"/api/v1/knowledge/bases/{base.id}/documents"
    response = await client.post(address, content=body, headers={"Content-Type": "application/json"})

    problem(response, 422, "validation_failed")
