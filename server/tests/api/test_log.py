"""The log as pages, and the transcript: what was said, for whoever was not there."""

import orjson
import pytest

from app.domain.discussion import Status
from tests.fixtures.problems import problem
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio


async def page(client, discussion, **query):
    return (await client.get(f"/api/v1/discussions/{discussion.id}/events", params=query)).json()


@pytest.fixture
async def told(client, make_discussion):
    """A discussion that has run to its end, and what a live viewer saw of it."""
    discussion = await make_discussion()
    viewer = await watch_to_the_end(client, discussion.id)
    return discussion, [event for event in viewer.events if event.is_durable]


async def test_the_log_holds_what_live_viewers_were_shown(client, told):
    discussion, seen = told

    log = await page(client, discussion)

    assert log["last_seq"] == 7
    assert [(event["seq"], event["type"], event["data"]) for event in log["items"]] == [
        (event.position[0], event.type, event.data) for event in seen
    ]
    assert all(event["created_at"].endswith("Z") for event in log["items"])


async def test_the_log_is_read_in_pages(client, told):
    discussion, _ = told

    seqs, after = [], 0
    while items := (await page(client, discussion, after=after, limit=3))["items"]:
        assert len(items) <= 3
        seqs += [event["seq"] for event in items]
        after = seqs[-1]

    assert seqs == [1, 2, 3, 4, 5, 6, 7]


async def test_a_page_past_the_end_is_empty_and_says_where_the_end_is(client, told):
    assert await page(client, told[0], after=999) == {"items": [], "last_seq": 7}


async def test_a_page_may_begin_after_an_id_from_within_a_message(client, told):
    items = (await page(client, told[0], after="3.12"))["items"]

    assert [event["seq"] for event in items] == [4, 5, 6, 7]


@pytest.mark.parametrize("after", ["-1", "x", "1.", ".1", "1.2.3", "9999999999", "٣", "1e3", " 1"])
async def test_a_page_after_no_event_id_is_refused(client, told, after):
    response = await client.get(f"/api/v1/discussions/{told[0].id}/events", params={"after": after})

    problem(response, 422, "bad_event_id")


async def test_a_snapshot_and_the_events_after_it_are_a_fresh_read(client, make_discussion):
    """Every field that `GET /discussions/{id}` shows and a turn changes is in some event after an older read."""
    waiting = await make_discussion(status=Status.WAITING, limits={"max_turns": 3})
    async with watching(client, waiting.id) as viewer:
        await client.post(f"/api/v1/discussions/{waiting.id}/messages", json={"content": "Begin."})
        await viewer.until_ended()
    fresh = (await client.get(f"/api/v1/discussions/{waiting.id}")).json()

    built = {name: waiting[name] for name in ("status", "end_reason", "turn", "last_seq", "next_speaker")}
    for event in (event for event in viewer.events if event.is_durable):
        built["last_seq"] = event.position[0]
        if event.type == "message.completed" and event.data["turn"] is not None:
            built["turn"] = event.data["turn"]
        if event.type == "turn.started":
            built["next_speaker"] = {name: event.data[name] for name in ("participant_id", "handle", "reason")}
        built |= {name: event.data[name] for name in ("status", "end_reason", "next_speaker") if name in event.data}

    assert built == {name: fresh[name] for name in built}


@pytest.fixture
async def interrupted(client, make_discussion, make_agent):
    """An ended discussion: a guest's words, a turn of 8 words, one cut short; with what was shown of the last."""
    quick, slow = (
        await make_agent("Skeptic", model="openai/fake?tokens=8"),
        await make_agent("Optimist", model="openai/fake?endless&delay_ms=20", params={"max_tokens": 8000}),
    )
    discussion = await make_discussion(status=Status.DRAFT, agents=[quick, slow], title="Remote work")
    await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Go!\n\nNow."})
    async with watching(client, discussion.id) as viewer:
        await client.post(f"/api/v1/discussions/{discussion.id}/start")
        await viewer.until(lambda event: event.type == "message.delta" and event.data["turn"] == 2)
        await client.post(f"/api/v1/discussions/{discussion.id}/stop")
        await viewer.until_ended()
    return discussion, list(viewer.checker.messages.values())


async def transcript(client, discussion, form):
    return await client.get(f"/api/v1/discussions/{discussion.id}/transcript", params={"format": form})


async def test_the_transcript_as_json_is_the_discussion_and_its_messages(client, interrupted):
    discussion, messages = interrupted

    response = await transcript(client, discussion, "json")

    assert response.headers["content-type"] == "application/json"
    whole = orjson.loads(response.content)
    assert whole["discussion"] == (await client.get(f"/api/v1/discussions/{discussion.id}")).json()
    assert whole["messages"] == messages


async def test_json_is_the_transcripts_first_form(client, interrupted):
    discussion, _ = interrupted

    plain = await client.get(f"/api/v1/discussions/{discussion.id}/transcript")

    assert plain.content == (await transcript(client, discussion, "json")).content


async def test_the_transcript_as_markdown_is_for_people(client, interrupted):
    discussion, messages = interrupted

    response = await transcript(client, discussion, "md")

    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.text == (
        "# Remote work\n\n**Topic:** Should our team go remote?\n\n"
        "**Participants:** Skeptic (@skeptic), Optimist (@optimist), Ada Byron (@ada-byron)\n\n"
        "**Status:** ended (stopped)\n"
        "\n## Ada Byron (@ada-byron), aside\n\nGo!\n\nNow.\n"
        f"\n## Skeptic (@skeptic), turn 1\n\n{messages[1]['content'].strip()}\n"
        f"\n## Optimist (@optimist), turn 2 *(interrupted)*\n\n{messages[2]['content'].strip()}\n"
    )


async def test_the_transcript_as_text_needs_no_markup(client, interrupted):
    discussion, messages = interrupted

    response = await transcript(client, discussion, "txt")

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == (
        "Remote work\n===========\n\nTopic: Should our team go remote?\n"
        "Participants: Skeptic (@skeptic), Optimist (@optimist), Ada Byron (@ada-byron)\nStatus: ended (stopped)\n"
        "\n[aside] Ada Byron (@ada-byron):\nGo!\n\nNow.\n"
        f"\n[turn 1] Skeptic (@skeptic):\n{messages[1]['content'].strip()}\n"
        f"\n[turn 2] Optimist (@optimist) (interrupted):\n{messages[2]['content'].strip()}\n"
    )


@pytest.mark.parametrize("form", ["pdf", "", "JSON"])
async def test_a_form_that_there_is_not_is_refused(client, make_discussion, form):
    draft = await make_discussion(status=Status.DRAFT)

    problem(await transcript(client, draft, form), 422, "validation_failed")


async def test_a_transcript_longer_than_a_page_is_whole(client, make_discussion, sql):
    draft = await make_discussion(status=Status.DRAFT)
    posted = await client.post(f"/api/v1/discussions/{draft.id}/messages", json={"content": "one"})
    copy = """
        INSERT INTO messages (id, discussion_id, workspace_id, seq, participant_id, handle, name, kind, content, status,
                              created_at)
        SELECT gen_random_uuid(), discussion_id, workspace_id, seq + n, participant_id, handle, name, kind, n::text,
               status, created_at
        FROM messages, generate_series(2, 450) n WHERE id = %s"""
    sql(copy, posted.json()["message"]["id"])

    response = await transcript(client, draft, "json")

    said = [message["content"] for message in orjson.loads(response.content)["messages"]]
    assert said == ["one", *map(str, range(2, 451))]
