"""Discussions: open, find, change, delete."""

import pytest

from app.domain.discussion import Status
from tests.factories.discussions import discussion_body, seats
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

UNKNOWN = "019a0000-0000-7000-8000-000000000000"


@pytest.fixture
async def agent(make_agent):
    return await make_agent()


async def test_a_discussion_reads_as_it_was_opened(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT, title="Remote", instructions="Be brief.", seed=7)

    response = await client.get(f"/api/v1/discussions/{draft.id}")

    assert response.json() == draft
    assert (draft.title, draft.instructions, draft.seed) == ("Remote", "Be brief.", 7)


async def test_an_unchanged_discussion_is_not_sent_again(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    tag = (await client.get(f"/api/v1/discussions/{draft.id}")).headers["ETag"]

    held = await client.get(f"/api/v1/discussions/{draft.id}", headers={"If-None-Match": tag})
    await client.post(f"/api/v1/discussions/{draft.id}/messages", json={"content": "Hello."})
    moved_on = await client.get(f"/api/v1/discussions/{draft.id}", headers={"If-None-Match": tag})

    assert (held.status_code, held.content) == (304, b"")
    assert moved_on.status_code == 200


async def test_limits_left_out_are_twelve_turns(client, agent):
    body = discussion_body(participants=seats(agent), start=False)
    del body["limits"]

    discussion = (await client.post("/api/v1/discussions", json=body)).json()

    assert discussion["limits"] == {"max_turns": 12, "max_tokens": None, "max_cost_usd": None, "max_seconds": None}


@pytest.mark.parametrize("turns", [1, 10_000])
async def test_a_discussion_may_have_from_one_to_ten_thousand_turns(make_discussion, turns):
    draft = await make_discussion(status=Status.DRAFT, limits={"max_turns": turns})

    assert draft.limits["max_turns"] == turns


async def test_people_and_agents_share_a_table(client, owner, agent):
    body = discussion_body(participants=[{"agent_id": agent.id}, {"user_id": owner.id}], start=False)

    seated = (await client.post("/api/v1/discussions", json=body)).json()["participants"]

    assert [(seat["kind"], seat["handle"], seat["user_id"]) for seat in seated] == [
        ("llm", "skeptic", None),
        ("human", "ada-byron", owner.id),
    ]


async def test_a_persons_handle_steps_aside_for_an_agents(client, owner, make_agent):
    namesake = await make_agent("Ada Byron")

    body = discussion_body(participants=[{"user_id": owner.id}, {"agent_id": namesake.id}], start=False)
    seated = (await client.post("/api/v1/discussions", json=body)).json()["participants"]

    assert [seat["handle"] for seat in seated] == ["ada-byron-2", "ada-byron"]


@pytest.mark.parametrize(
    "change",
    [
        {"topic": ""},
        {"topic": "   \n "},
        {"topic": None},
        {"topic": 5},
        {"topic": "x" * 4001},
        {"participants": []},
        {"participants": [{}]},
        {"participants": [{"agent_id": UNKNOWN, "user_id": UNKNOWN}]},
        {"participants": [{"agent_id": "none"}]},
        {"participants": "everybody"},
        {"limits": {"max_turns": 0}},
        {"limits": {"max_turns": 10_001}},
        {"limits": {"max_turns": 1.5}},
        {"limits": {"max_tokens": 0}},
        {"limits": {"max_cost_usd": -1}},
        {"limits": {"max_seconds": 0}},
        {"limits": {"max_words": 5}},
        {"limits": None},
        {"turn_policy": {"type": "Loudest!"}},
        {"stop_when": [{"type": "phrase", "phrase": "  "}]},
        {"stop_when": [{"type": "boredom"}]},
        {"priority": "urgent"},
        {"seed": -1},
        {"start": "maybe"},
        {"title": "  "},
        {"document_ids": ["none"]},
        {"surprise": True},
    ],
)
async def test_a_discussion_that_makes_no_sense_is_refused_and_not_written(client, owner, agent, rows_of, change):
    before = rows_of(owner)

    response = await client.post(
        "/api/v1/discussions", json=discussion_body(**{"participants": seats(agent), **change})
    )

    assert problem(response, 422, "validation_failed")["errors"]
    assert rows_of(owner) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"participants": [{"agent_id": UNKNOWN}]}, "agent_not_found"),
        ({"participants": [{"user_id": UNKNOWN}]}, "user_not_found"),
        ({"document_ids": [UNKNOWN]}, "document_not_found"),
    ],
)
async def test_a_discussion_must_name_what_exists(client, owner, agent, rows_of, change, code):
    before = rows_of(owner)

    response = await client.post(
        "/api/v1/discussions", json=discussion_body(**{"participants": seats(agent), **change})
    )

    problem(response, 404, code)
    assert rows_of(owner) == before


async def test_nobody_sits_at_a_table_twice(client, owner, agent, rows_of):
    before = rows_of(owner)
    for twice in (seats(agent, agent), [{"user_id": owner.id}] * 2):
        response = await client.post("/api/v1/discussions", json=discussion_body(participants=twice))

        problem(response, 422, "duplicate_participant")
    assert rows_of(owner) == before


async def test_fifty_one_participants_are_too_many(client):
    crowd = [{"agent_id": UNKNOWN}] * 51

    problem(
        await client.post("/api/v1/discussions", json=discussion_body(participants=crowd)), 422, "validation_failed"
    )


async def test_a_deleted_agent_cannot_take_a_seat(client, agent):
    await client.delete(f"/api/v1/agents/{agent.id}")

    response = await client.post("/api/v1/discussions", json=discussion_body(participants=seats(agent)))

    problem(response, 404, "agent_not_found")


async def test_an_external_agent_takes_a_seat_in_the_speaking_order(client, make_external):
    outside = await make_external()

    response = await client.post("/api/v1/discussions", json=discussion_body(participants=seats(outside)))

    [seat] = response.json()["participants"]
    assert (seat["kind"], seat["role"], seat["agent_id"]) == ("external", "speaker", outside.id)
    assert (response.json()["status"], response.json()["next_speaker"]["handle"]) == ("waiting", "outside")


@pytest.mark.parametrize("status", [Status.DRAFT, Status.WAITING, Status.ENDED])
async def test_discussions_are_filtered_by_status(client, make_discussion, status):
    made = {one: await make_discussion(status=one) for one in (Status.DRAFT, Status.WAITING)}
    ended = await client.post(f"/api/v1/discussions/{(await make_discussion(status=Status.DRAFT)).id}/stop")
    made[Status.ENDED] = ended.json()

    listed = (await client.get("/api/v1/discussions", params={"status": status})).json()["items"]

    assert [discussion["id"] for discussion in listed] == [made[status]["id"]]


@pytest.mark.parametrize(("query", "topics"), [("REMOTE", ["Go remote?"]), ("rent", ["On rent"]), ("%", [])])
async def test_discussions_are_found_by_literal_text_in_topic_or_title(client, make_discussion, agent, query, topics):
    await make_discussion(status=Status.DRAFT, agents=[agent], topic="Go remote?")
    await make_discussion(status=Status.DRAFT, agents=[agent], topic="On rent", title="The landlord")

    listed = (await client.get("/api/v1/discussions", params={"q": query})).json()["items"]

    assert [discussion["topic"] for discussion in listed] == topics


async def test_a_draft_can_be_changed_in_every_way(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    changes = {"topic": "Another", "title": "New", "instructions": "Be kind.", "limits": {"max_turns": 3}}

    response = await client.patch(f"/api/v1/discussions/{draft.id}", json=changes)

    changed = response.json()
    assert (changed["topic"], changed["title"], changed["instructions"]) == ("Another", "New", "Be kind.")
    assert (changed["limits"]["max_turns"], changed["version"]) == (3, 2)
    assert response.headers["ETag"] != (f'"{draft.version}-{draft.last_seq}"')


@pytest.mark.parametrize("status", [Status.WAITING, Status.ENDED])
async def test_only_the_title_of_a_discussion_that_has_begun_can_be_changed(client, make_discussion, status):
    discussion = await make_discussion(status=Status.WAITING)
    if status == Status.ENDED:
        await client.post(f"/api/v1/discussions/{discussion.id}/stop")

    titled = await client.patch(f"/api/v1/discussions/{discussion.id}", json={"title": "New"})
    refused = await client.patch(f"/api/v1/discussions/{discussion.id}", json={"title": "Newer", "topic": "Another"})

    assert titled.json()["title"] == "New"
    problem(refused, 409, "not_editable")
    kept = (await client.get(f"/api/v1/discussions/{discussion.id}")).json()
    assert (kept["title"], kept["topic"]) == ("New", discussion.topic)


async def test_a_change_of_a_stale_version_is_refused(client, owner, make_discussion, rows_of):
    draft = await make_discussion(status=Status.DRAFT)
    tag = (await client.get(f"/api/v1/discussions/{draft.id}")).headers["ETag"]
    address, body = f"/api/v1/discussions/{draft.id}", {"title": "New"}
    assert (await client.patch(address, json=body, headers={"If-Match": tag})).status_code == 200
    before = rows_of(owner)

    problem(await client.patch(address, json=body, headers={"If-Match": tag}), 412, "stale_version")

    assert rows_of(owner) == before


async def test_words_said_meanwhile_do_not_make_an_edit_stale(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    tag = (await client.get(f"/api/v1/discussions/{draft.id}")).headers["ETag"]
    await client.post(f"/api/v1/discussions/{draft.id}/messages", json={"content": "Hello."})

    response = await client.patch(f"/api/v1/discussions/{draft.id}", json={"title": "New"}, headers={"If-Match": tag})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "change", [{"topic": None}, {"limits": None}, {"topic": ""}, {"title": ""}, {"status": "ended"}]
)
async def test_a_change_that_makes_no_sense_is_refused_and_not_written(client, owner, make_discussion, rows_of, change):
    draft = await make_discussion(status=Status.DRAFT)
    before = rows_of(owner)

    problem(await client.patch(f"/api/v1/discussions/{draft.id}", json=change), 422, "validation_failed")

    assert rows_of(owner) == before


async def test_a_deleted_discussion_is_gone_with_all_that_was_said(client, owner, make_discussion, rows_of):
    discussion = await make_discussion(status=Status.WAITING)
    await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Hello."})

    assert (await client.delete(f"/api/v1/discussions/{discussion.id}")).status_code == 204

    for address in ("", "/messages", "/events", "/transcript"):
        problem(await client.get(f"/api/v1/discussions/{discussion.id}{address}"), 404, "not_found")
    left = rows_of(owner)
    for table in ("discussions", "participants", "messages", "discussion_events", "turns"):
        assert left[table] == []
