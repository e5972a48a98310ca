"""Agents: read, change by versions, delete, find, preview."""

import asyncio

import orjson
import pytest

from tests.factories.agents import agent_body
from tests.fixtures.problems import problem
from tests.fixtures.viewer import parse_frame

pytestmark = pytest.mark.anyio

UNKNOWN = "019a0000-0000-7000-8000-000000000000"


async def test_an_agent_reads_as_it_was_created(client, make_agent):
    agent = await make_agent(color="#00ff00")

    response = await client.get(f"/api/v1/agents/{agent.id}")

    assert response.json() == agent
    assert response.headers["ETag"] == '"1"'


async def test_an_unchanged_agent_is_not_sent_again(client, make_agent):
    agent = await make_agent()

    held = await client.get(f"/api/v1/agents/{agent.id}", headers={"If-None-Match": '"1"'})
    stale = await client.get(f"/api/v1/agents/{agent.id}", headers={"If-None-Match": '"0"'})

    assert (held.status_code, held.content, held.headers["ETag"]) == (304, b"", '"1"')
    assert stale.status_code == 200


@pytest.mark.parametrize("tags", ['W/"1"', '"7", "1"', "*"])
async def test_if_none_match_is_read_as_http_says(client, make_agent, tags):
    agent = await make_agent()

    response = await client.get(f"/api/v1/agents/{agent.id}", headers={"If-None-Match": tags})

    assert response.status_code == 304


async def test_a_change_makes_a_new_version_and_keeps_the_rest(client, make_agent):
    agent = await make_agent()

    response = await client.patch(f"/api/v1/agents/{agent.id}", json={"persona": "You agree."})

    changed = response.json()
    assert (changed["version"], changed["persona"], response.headers["ETag"]) == (2, "You agree.", '"2"')
    kept = set(agent) - {"persona", "version", "updated_at"}
    assert {name: changed[name] for name in kept} == {name: agent[name] for name in kept}
    assert changed["updated_at"] > agent.updated_at


async def test_an_empty_change_makes_no_version(client, make_agent):
    agent = await make_agent()

    response = await client.patch(f"/api/v1/agents/{agent.id}", json={})

    assert response.json() == agent


async def test_a_change_of_the_version_it_expects_is_made(client, make_agent):
    agent = await make_agent()

    response = await client.patch(f"/api/v1/agents/{agent.id}", json={"name": "New"}, headers={"If-Match": '"1"'})

    assert (response.status_code, response.json()["version"]) == (200, 2)


async def test_a_change_of_a_stale_version_is_refused_and_changes_nothing(client, owner, make_agent, rows_of):
    agent = await make_agent()
    await client.patch(f"/api/v1/agents/{agent.id}", json={"name": "New"})
    before = rows_of(owner)

    response = await client.patch(f"/api/v1/agents/{agent.id}", json={"name": "Newer"}, headers={"If-Match": '"1"'})

    problem(response, 412, "stale_version")
    assert rows_of(owner) == before


async def test_an_if_match_that_is_no_etag_is_refused(client, make_agent):
    agent = await make_agent()

    response = await client.patch(f"/api/v1/agents/{agent.id}", json={"name": "New"}, headers={"If-Match": "x"})

    problem(response, 422, "bad_etag")


async def test_of_two_changes_that_expect_the_same_version_one_is_made(client, make_agent):
    agent = await make_agent()

    async def rename(name):
        headers = {"If-Match": '"1"'}
        return await client.patch(f"/api/v1/agents/{agent.id}", json={"name": name}, headers=headers)

    responses = await asyncio.gather(*(rename(f"New {number}") for number in range(5)))

    assert sorted(response.status_code for response in responses) == [200, 412, 412, 412, 412]


async def test_every_version_can_be_read(client, make_agent):
    agent = await make_agent("First")
    await client.patch(f"/api/v1/agents/{agent.id}", json={"name": "Second"})

    listed = (await client.get(f"/api/v1/agents/{agent.id}/versions")).json()
    first = (await client.get(f"/api/v1/agents/{agent.id}/versions/1")).json()

    assert [(version["version"], version["name"]) for version in listed["items"]] == [(2, "Second"), (1, "First")]
    assert first == listed["items"][1]
    assert first["persona"] == agent.persona


async def test_a_version_that_never_was_is_not_found(client, make_agent):
    agent = await make_agent()

    problem(await client.get(f"/api/v1/agents/{agent.id}/versions/2"), 404, "not_found")


async def test_a_deleted_agent_is_gone_and_its_handle_free(client, make_agent):
    agent = await make_agent()

    response = await client.delete(f"/api/v1/agents/{agent.id}")

    assert (response.status_code, response.content) == (204, b"")
    problem(await client.get(f"/api/v1/agents/{agent.id}"), 404, "not_found")
    problem(await client.get(f"/api/v1/agents/{agent.id}/versions"), 404, "not_found")
    problem(await client.delete(f"/api/v1/agents/{agent.id}"), 404, "not_found")
    assert (await client.get("/api/v1/agents")).json()["items"] == []
    assert (await make_agent()).handle == "skeptic"


@pytest.mark.parametrize(
    ("name", "handle"),
    [("Dr. Ada Löwe", "dr-ada-lowe"), ("懐疑論者", "participant"), ("x" * 40, "x" * 32), ("--A  B--", "a-b")],
)
async def test_a_handle_is_derived_from_the_name(make_agent, name, handle):
    assert (await make_agent(name)).handle == handle


async def test_derived_handles_step_aside_for_each_other(make_agent):
    assert [(await make_agent("Skeptic")).handle for _ in range(3)] == ["skeptic", "skeptic-2", "skeptic-3"]


async def test_a_handle_asked_for_twice_clashes_and_nothing_is_written(client, owner, make_agent, rows_of):
    await make_agent("One", handle="critic")
    before = rows_of(owner)

    response = await client.post("/api/v1/agents", json=agent_body("Two", handle="critic"))

    problem(response, 409, "handle_taken")
    assert rows_of(owner) == before


async def test_a_change_to_a_taken_handle_clashes_and_changes_nothing(client, owner, make_agent, rows_of):
    await make_agent("One", handle="critic")
    other = await make_agent("Two", handle="fan")
    before = rows_of(owner)

    problem(await client.patch(f"/api/v1/agents/{other.id}", json={"handle": "critic"}), 409, "handle_taken")

    assert rows_of(owner) == before


async def test_two_workspaces_may_use_the_same_handle(make_agent, stranger):
    mine, theirs = await make_agent(handle="critic"), await make_agent(handle="critic", by=stranger)

    assert mine.handle == theirs.handle


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *(("skep", ["Skeptic"]), ("SKEP", ["Skeptic"]), ("mist", ["Optimist"]), ("zed", [])),
        *(("pro", ["100% pro_fan"]), ("%", ["100% pro_fan"]), ("o_f", ["100% pro_fan"]), ("a_", [])),
    ],
)
async def test_agents_are_found_by_literal_text_in_name_or_handle(client, make_agent, query, found):
    for name in ("Skeptic", "Optimist", "100% pro_fan"):
        await make_agent(name)

    response = await client.get("/api/v1/agents", params={"q": query})

    assert [agent["name"] for agent in response.json()["items"]] == found


async def test_agents_are_filtered_by_kind(client, make_agent):
    await make_agent("Inside")
    await make_agent("Outside", kind="external", model=None, endpoint_url="https://agent.example/hook")

    for kind, name in (("llm", "Inside"), ("external", "Outside")):
        items = (await client.get("/api/v1/agents", params={"kind": kind})).json()["items"]
        assert [agent["name"] for agent in items] == [name]


async def test_an_external_agent_has_an_endpoint_and_no_model(make_agent):
    agent = await make_agent("Outside", kind="external", model=None, endpoint_url="https://agent.example/hook")

    assert (agent.kind, agent.model, agent.endpoint_url) == ("external", None, "https://agent.example/hook")


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"endpoint_url": "https://agent.example/hook"},
        {"kind": "external", "model": None},
        {"kind": "robot"},
        {"handle": "No Spaces"},
        {"handle": ""},
        {"handle": "x" * 33},
        {"name": "   "},
        {"name": "x" * 201},
        {"color": "blue"},
        {"params": {"temperature": 3}},
        {"params": {"max_tokens": 0}},
        {"params": {"unknown": 1}},
        {"persona": "x" * 32_001},
        {"model": "no-slash"},
        {"memory": {"long_term": "perhaps"}},
    ],
)
async def test_an_agent_that_makes_no_sense_is_refused_and_not_written(client, owner, rows_of, change):
    before = rows_of(owner)

    response = await client.post("/api/v1/agents", json=agent_body(**change))

    assert problem(response, 422, "validation_failed")["errors"]
    assert rows_of(owner) == before


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "nowhere/model"}, 422, "unknown_model"),
        ({"model": "local/another"}, 422, "unknown_model"),
        ({"model_fallbacks": ["nowhere/model"]}, 422, "unknown_model"),
        ({"tools": ["web_search"]}, 422, "unknown_tool"),
        ({"tools": ["calculator", "nowhere/*"]}, 422, "unknown_tool"),
        ({"tools": ["http_get"]}, 422, "unknown_tool"),  # the operator has to switch it on
        ({"knowledge_base_ids": [UNKNOWN]}, 404, "knowledge_base_not_found"),
    ],
)
async def test_an_agent_must_name_what_exists(client, owner, rows_of, make_agent, change, status, code):
    agent = await make_agent()
    before = rows_of(owner)

    told = problem(await client.post("/api/v1/agents", json=agent_body("Another", **change)), status, code)
    problem(await client.patch(f"/api/v1/agents/{agent.id}", json=change), status, code)

    assert rows_of(owner) == before
    assert status == 404 or told["errors"][0]["loc"][:2] == ["body", *change]


async def test_an_agent_may_have_built_in_tools(client, make_agent):
    agent = await make_agent(tools=["calculator"])
    changed = await client.patch(f"/api/v1/agents/{agent.id}", json={"tools": ["current_time", "knowledge_search"]})

    assert agent.tools == ["calculator"]
    assert changed.json()["tools"] == ["current_time", "knowledge_search"]


@pytest.mark.parametrize(
    "change",
    [{"name": None}, {"handle": "No"}, {"model": None}, {"endpoint_url": "https://agent.example"}, {"kind": 1}],
)
async def test_a_change_that_makes_no_sense_is_refused_and_not_written(client, owner, make_agent, rows_of, change):
    agent = await make_agent()
    before = rows_of(owner)

    response = await client.patch(f"/api/v1/agents/{agent.id}", json=change)

    problem(response, 422, "validation_failed")
    assert rows_of(owner) == before


async def test_an_agents_colour_can_be_taken_away(client, make_agent):
    agent = await make_agent(color="#00ff00")

    assert (await client.patch(f"/api/v1/agents/{agent.id}", json={"color": None})).json()["color"] is None


async def test_an_agent_may_name_a_knowledge_base_of_its_workspace(make_agent, make_base):
    base = await make_base()

    assert (await make_agent(knowledge_base_ids=[base.id])).knowledge_base_ids == [base.id]


async def preview(client, agent, message="Who are you?"):
    response = await client.post(f"/api/v1/agents/{agent.id}/preview", json={"message": message})
    frames = [frame for frame in response.text.split("\n\n") if frame]
    return response, [parse_frame("id: 0\n" + frame) for frame in frames]


async def test_a_preview_streams_one_reply_and_stores_nothing(client, owner, make_agent, make_model, rows_of):
    model = make_model("tokens=8&delay_ms=5")
    agent = await make_agent(model=model.name)
    before = rows_of(owner)

    response, events = await preview(client, agent)

    *deltas, completed = events
    assert response.headers["content-type"].startswith("text/event-stream")
    assert {event.type for event in deltas} == {"message.delta"}
    assert "".join(event.data["text"] for event in deltas) == model.reply() == completed.data["content"]
    assert completed.type == "message.completed"
    assert completed.data["usage"]["completion_tokens"] == 8
    assert "Who are you?" in model.prompts[0][-1]["content"]
    assert rows_of(owner) == before


async def test_a_preview_whose_model_fails_says_so_in_the_stream(client, make_agent):
    agent = await make_agent(model="openai/fake?status=401")

    _, events = await preview(client, agent)

    assert [(event.type, event.data["code"]) for event in events] == [("error", "model_unauthorized")]


async def test_a_preview_does_not_show_the_providers_key(client, make_agent):
    agent = await make_agent(model="openai/fake?status=401&leak_key")

    response, _ = await preview(client, agent)

    assert "Bearer" not in response.text


async def test_an_external_agent_cannot_be_previewed(client, make_agent):
    agent = await make_agent("Outside", kind="external", model=None, endpoint_url="https://agent.example/hook")

    response = await client.post(f"/api/v1/agents/{agent.id}/preview", json={"message": "Hello?"})

    problem(response, 422, "not_previewable")


async def test_any_text_that_json_can_carry_survives(client, make_agent):
    persona = 'naïve 日本語 👩‍🚀 \u202e \x01 \ufeff “quotes” \\ " \r\n\t'

    agent = await make_agent(persona=persona)

    stored = (await client.get(f"/api/v1/agents/{agent.id}")).content
    assert orjson.loads(stored)["persona"] == persona


SCHEMA = {"type": "object", "properties": {"verdict": {"enum": ["yes", "no"]}}, "required": ["verdict"]}


async def test_an_agents_response_schema_is_kept_with_its_version(client, make_agent):
    agent = await make_agent(response_schema=SCHEMA)
    address = f"/api/v1/agents/{agent.id}"

    without = (await client.patch(address, json={"response_schema": None})).json()

    assert agent.response_schema == SCHEMA
    assert without["response_schema"] is None
    assert (await client.get(f"{address}/versions/1")).json()["response_schema"] == SCHEMA


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "http://127.0.0.1:9/"}, {"description": "\x00"}])
async def test_a_response_schema_that_is_none_is_refused(client, make_agent, schema):
    agent = await make_agent()

    for answer in (
        await client.post("/api/v1/agents", json=agent_body("Other", response_schema=schema)),
        await client.patch(f"/api/v1/agents/{agent.id}", json={"response_schema": schema}),
    ):
        assert problem(answer, 422, "bad_schema")["errors"][0]["loc"] == ["body", "response_schema"]
