"""Agents that answer from documents: what reaches them, and what their citations become."""

from urllib.parse import quote
from uuid import UUID

import pytest

from app.core.metrics import REGISTRY
from app.domain.context import PASSAGES
from tests.factories.corpora import write_chunks
from tests.fixtures.files import pdf_of
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

FACTS = (
    "The canteen closes at three. Its soup is famous.",
    "The vault's door opens with the code 7731. Only the keeper knows it.",
    "Cyclists park behind the house. The rack holds forty.",
)
ANSWER = "As the papers say, the vault's door opens with the code 7731 [{}]. Nothing else [9]."


def says(text):
    return f"reply={quote(text)}"


@pytest.fixture
def write(shared_database, owner):
    def make(texts=FACTS, **more):
        return write_chunks(shared_database, texts, workspace_id=UUID(owner.workspace_id), **more)

    return make


async def talk_of(client, make_agent, make_discussion, model, *, turns=1, topic="How does the vault open?", **agent):
    speaker = await make_agent(model=model.name, **{"params": {"max_tokens": 100}, **agent})
    return await make_discussion(agents=[speaker], topic=topic, limits={"max_turns": turns})


async def messages_of(client, discussion):
    return (await client.get(f"/api/v1/discussions/{discussion.id}/messages")).json()["items"]


async def test_passages_of_an_agents_bases_are_looked_up_and_its_citations_say_what_they_point_to(
    client, make_agent, make_discussion, make_model, write
):
    written, model = write(title="House rules"), make_model(says(ANSWER.format(1)))
    before = REGISTRY.get_sample_value("arena_citations_dropped_total")

    talk = await talk_of(client, make_agent, make_discussion, model, knowledge_base_ids=[str(written.base_id)])
    viewer = await watch_to_the_end(client, talk.id)

    [prompt] = model.prompts
    assert f"{PASSAGES}\n\n[1] “House rules”, page 1:\n    {FACTS[1]}" in prompt[-1]["content"]
    assert "as in [1]" in prompt[0]["content"]
    [message] = await messages_of(client, talk)
    whole = "\n\n".join(FACTS)
    quoted = "The vault's door opens with the code 7731."
    assert message["citations"] == [
        {
            "n": 1,
            "document_id": str(written.document_id),
            "chunk_id": str(written.chunk_ids[1]),
            "title": "House rules",
            "page": 1,
            "span": {"start": whole.index(quoted), "end": whole.index(quoted) + len(quoted)},
            "quote": quoted,
        }
    ]
    assert message["content"] == ANSWER.format(1)
    assert message["dropped_citations"] == 1
    assert viewer.of_type("message.completed")[0].data == message
    assert REGISTRY.get_sample_value("arena_citations_dropped_total") - before >= 1


async def test_a_source_keeps_its_number_for_the_whole_discussion(
    client, make_agent, make_discussion, make_model, write
):
    written, model = write(), make_model(says("It opens with 7731 [1]. Cyclists park behind the house [2]."))

    agent = {"knowledge_base_ids": [str(written.base_id)], "topic": "What of the vault, and where do cyclists park?"}
    talk = await talk_of(client, make_agent, make_discussion, model, turns=3, **agent)
    await watch_to_the_end(client, talk.id)

    messages = await messages_of(client, talk)
    named = [[(one["n"], one["chunk_id"]) for one in message["citations"]] for message in messages]
    assert len(named[0]) == 2
    assert named[1:] == named[:1] * 2


async def test_a_document_that_fits_is_shown_whole_page_by_page_and_cited_with_the_page(
    client, make_agent, make_discussion, make_model, make_document, sql
):
    pages = [f"{fact}\n" for fact in FACTS]
    document, model = await make_document("Rules", "".join(pages)), make_model(says(ANSWER.format(2)))
    starts = [0, len(pages[0]), len(pages[0] + pages[1])]
    sql("UPDATE documents SET page_starts = %s WHERE id = %s RETURNING 1", starts, document.id)
    agent = await make_agent(model=model.name)

    talk = await make_discussion(agents=[agent], limits={"max_turns": 1}, document_ids=[document.id])
    await watch_to_the_end(client, talk.id)

    assert f"[2] “Rules”, page 2:\n    {FACTS[1]}\n\n[3]" in model.prompts[0][1]["content"]
    [citation] = (await messages_of(client, talk))[0]["citations"]
    assert (citation["page"], citation["chunk_id"]) == (2, None)
    assert citation["quote"] == "The vault's door opens with the code 7731."
    assert "".join(pages)[citation["span"]["start"] : citation["span"]["end"]] == citation["quote"]


@pytest.mark.parametrize(("given", "number"), [("document", 2), ("base", 1)])
async def test_what_only_a_pdf_says_is_cited_with_its_page(
    client, make_agent, make_discussion, make_model, make_base, upload, given, number
):
    base, model = await make_base(), make_model(says(ANSWER.format(number)))
    document = await upload(base, "rules.pdf", pdf_of([fact] for fact in FACTS))
    agent = await make_agent(
        model=model.name, knowledge_base_ids=[base.id] if given == "base" else [], params={"max_tokens": 100}
    )

    talk = await make_discussion(
        agents=[agent],
        topic="Which code opens the door of the vault?",
        limits={"max_turns": 1},
        document_ids=[document["id"]] if given == "document" else [],
    )
    await watch_to_the_end(client, talk.id)

    assert FACTS[1] in "\n".join(message["content"] for message in model.prompts[0])
    [citation] = (await messages_of(client, talk))[0]["citations"]
    assert (citation["n"], citation["document_id"], citation["page"]) == (number, document["id"], 2)
    assert citation["quote"] == "The vault's door opens with the code 7731."
    assert document["text"][citation["span"]["start"] : citation["span"]["end"]] == citation["quote"]


async def test_a_document_that_does_not_fit_is_looked_up_in(client, make_agent, make_discussion, make_model, write):
    written = write([*(f"Nothing of note happened in week {week}. " * 40 for week in range(60)), *FACTS])
    model = make_model(says(ANSWER.format(1)))
    agent = await make_agent(model=model.name)

    talk = await make_discussion(
        agents=[agent],
        topic="How does the vault open, and with which code?",
        limits={"max_turns": 1},
        document_ids=[str(written.document_id)],
    )
    await watch_to_the_end(client, talk.id)

    [prompt] = model.prompts
    assert FACTS[1] in prompt[-1]["content"]
    [citation] = (await messages_of(client, talk))[0]["citations"]
    assert citation["quote"] == "The vault's door opens with the code 7731."


async def test_another_workspaces_base_gives_nothing(
    client, make_agent, make_discussion, make_model, shared_database, sql, write
):
    foreign = write_chunks(shared_database, FACTS)
    own, model = write(["Own text about the vault."]), make_model(says("Well [1]."))
    agent = await make_agent(model=model.name, knowledge_base_ids=[str(own.base_id)])
    sql(
        "UPDATE agent_versions SET config = jsonb_set(config, '{knowledge_base_ids}', %s::jsonb)"
        " WHERE agent_id = %s RETURNING 1",
        f'["{foreign.base_id}", "{own.base_id}"]',
        agent.id,
    )

    talk = await make_discussion(agents=[agent], topic="How does the vault open?", limits={"max_turns": 1})
    await watch_to_the_end(client, talk.id)

    assert "7731" not in str(model.prompts)
    assert "Own text about the vault." in str(model.prompts)


async def test_transcripts_list_the_sources(client, make_agent, make_discussion, make_model, write):
    written, model = write(title="House *rules*"), make_model(says(ANSWER.format(1)))
    talk = await talk_of(client, make_agent, make_discussion, model, knowledge_base_ids=[str(written.base_id)])
    await watch_to_the_end(client, talk.id)

    for form, line in (
        ("md", "- \\[1\\] House *rules*, page 1: “The vault's door opens with the code 7731.”"),
        ("txt", "  [1] House *rules*, page 1: “The vault's door opens with the code 7731.”"),
    ):
        transcript = (await client.get(f"/api/v1/discussions/{talk.id}/transcript", params={"format": form})).text
        assert line in transcript


async def test_a_fork_keeps_the_citations(client, make_agent, make_discussion, make_model, write):
    written, model = write(), make_model(says(ANSWER.format(1)))
    talk = await talk_of(client, make_agent, make_discussion, model, knowledge_base_ids=[str(written.base_id)])
    await watch_to_the_end(client, talk.id)

    fork = (await client.post(f"/api/v1/discussions/{talk.id}/fork", json={"start": False})).json()

    copied = (await client.get(f"/api/v1/discussions/{fork['id']}/messages")).json()["items"]
    [original] = await messages_of(client, talk)
    assert [one["citations"] for one in copied] == [original["citations"]] != [[]]
