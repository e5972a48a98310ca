"""The three flows of the product, each as a client walks it."""

import pytest

from tests.factories.agents import agent_body
from tests.factories.discussions import seats
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

EXAMPLE_AGENT = {
    "name": "Skeptic",
    "handle": "skeptic",
    "kind": "llm",
    "persona": "You doubt every claim …",
    "model": "openai/fake?tokens=6",
    "params": {"temperature": 0.7, "max_tokens": 200},
    "tools": [],
    "knowledge_base_ids": [],
    "memory": {"long_term": False},
    "color": "#3b82f6",
}
EXAMPLE_DISCUSSION = {
    "topic": "Should our team go remote?",
    "title": None,
    "instructions": None,
    "turn_policy": {"type": "round_robin"},
    "limits": {"max_turns": 12, "max_tokens": None, "max_cost_usd": None, "max_seconds": None},
    "stop_when": [],
    "priority": "interactive",
    "seed": None,
    "start": True,
}


async def test_an_agent_is_created_as_the_contract_shows_it(client):
    response = await client.post("/api/v1/agents", json=EXAMPLE_AGENT)

    agent = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/v1/agents/{agent['id']}"
    assert response.headers["ETag"] == '"1"'
    assert agent["version"] == 1
    assert {name: agent[name] for name in EXAMPLE_AGENT if name != "params"} == {
        name: value for name, value in EXAMPLE_AGENT.items() if name != "params"
    }
    assert EXAMPLE_AGENT["params"].items() <= agent["params"].items()
    assert agent["created_at"].endswith("Z")


async def test_a_discussion_is_opened_from_a_document_and_selected_agents(client, make_agent, make_document):
    document = await make_document()
    agents = [await make_agent("Skeptic"), await make_agent("Optimist")]
    participants = [{"agent_id": agents[0].id}, {"agent_id": agents[1].id, "role": "moderator"}]

    body = {**EXAMPLE_DISCUSSION, "document_ids": [document.id], "participants": participants}
    response = await client.post("/api/v1/discussions", json=body)

    discussion = response.json()
    first, second = discussion["participants"]
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/v1/discussions/{discussion['id']}"
    assert response.headers["ETag"]
    assert (discussion["status"], discussion["end_reason"], discussion["turn"]) == ("running", None, 0)
    assert (discussion["last_seq"], discussion["version"], discussion["parent"]) == (2, 1, None)
    assert discussion["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0}
    assert discussion["next_speaker"] == {
        "participant_id": first["id"],
        "handle": "skeptic",
        "reason": "round_robin",
    }
    assert (first["kind"], first["role"], first["agent_id"], first["agent_version"]) == (
        "llm",
        "speaker",
        agents[0].id,
        1,
    )
    assert (second["role"], second["handle"], second["name"]) == ("moderator", "optimist", "Optimist")
    assert discussion["limits"] == EXAMPLE_DISCUSSION["limits"]
    assert discussion["document_ids"] == [document.id]
    await client.post(f"/api/v1/discussions/{discussion['id']}/stop")


async def test_messages_are_posted_and_the_agents_answer_through_the_same_log(client, owner, make_agent):
    agents = [await make_agent("Skeptic"), await make_agent("Optimist")]
    body = {
        "topic": "Should our team go remote?",
        "participants": [{"user_id": owner.id}, *seats(*agents)],
        "limits": {"max_turns": 3},
    }
    discussion = (await client.post("/api/v1/discussions", json=body)).json()
    assert (discussion["status"], discussion["next_speaker"]["handle"]) == ("waiting", "ada-byron")

    posted = await client.post(f"/api/v1/discussions/{discussion['id']}/messages", json={"content": "What of rent?"})
    viewer = await watch_to_the_end(client, discussion["id"])

    assert posted.status_code == 201
    assert posted.json()["message"]["turn"] == 1
    assert posted.json()["discussion"]["status"] == "running"
    assert posted.json()["discussion"]["next_speaker"]["handle"] == "skeptic"
    spoken = [(message["turn"], message["handle"]) for message in viewer.checker.messages.values()]
    assert spoken == [(1, "ada-byron"), (2, "skeptic"), (3, "optimist")]


async def test_the_log_of_a_discussion_reads_as_the_contract_names_its_events(client, make_discussion):
    discussion = await make_discussion()

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.type for event in viewer.events if event.is_durable] == [
        *("discussion.created", "discussion.started"),
        *("turn.started", "message.completed", "turn.started", "message.completed"),
        "discussion.ended",
    ]
    started = viewer.of_type("turn.started")[0].data
    message = viewer.of_type("message.completed")[0].data
    assert (started["turn"], started["attempt"], started["reason"]) == (1, 1, "round_robin")
    assert started["message_id"] == message["id"]
    assert started["participant_id"] == message["participant_id"] == discussion.participants[0]["id"]


async def test_usage_adds_up_over_the_messages(client, make_discussion):
    discussion = await make_discussion()
    viewer = await watch_to_the_end(client, discussion.id)

    ended = (await client.get(f"/api/v1/discussions/{discussion.id}")).json()

    usages = [message["usage"] for message in viewer.checker.messages.values()]
    assert ended["usage"]["completion_tokens"] == sum(usage["completion_tokens"] for usage in usages) == 16
    assert ended["usage"]["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in usages) > 0


async def test_what_an_agent_is_asked_holds_its_parameters(client, make_agent, make_discussion, make_model):
    model = make_model("tokens=3")
    params = {"temperature": 0.3, "top_p": 0.9, "max_tokens": 77, "seed": 5, "stop": ["END"]}
    agent = await make_agent(model=model.name, params=params)
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1})
    await watch_to_the_end(client, discussion.id)

    [request] = model.requests

    asked = {name: request.body.get(name) for name in ("temperature", "top_p", "seed", "stop")}
    assert asked == {"temperature": 0.3, "top_p": 0.9, "seed": 5, "stop": ["END"]}
    assert 77 in (request.body.get("max_tokens"), request.body.get("max_completion_tokens"))


async def test_a_discussions_seed_makes_every_turns_seed(client, make_agent, make_discussion, make_model):
    model = make_model("tokens=3")
    discussion = await make_discussion(agents=[await make_agent(model=model.name)], seed=40)

    await watch_to_the_end(client, discussion.id)

    assert [request.body["seed"] for request in model.requests] == [40, 41]


async def test_others_words_reach_an_agent_as_labelled_user_text_and_its_own_as_the_assistants(
    client, make_agent, make_discussion, make_model
):
    first, second = make_model("tokens=5"), make_model("tokens=5")
    agents = [await make_agent("One", model=first.name), await make_agent("Two", model=second.name)]
    discussion = await make_discussion(agents=agents, limits={"max_turns": 3}, instructions="Be brief.")

    await watch_to_the_end(client, discussion.id)

    prompt = first.prompts[1]
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user"]
    assert "You are One and doubt every claim." in prompt[0]["content"]
    assert "Be brief." in prompt[0]["content"]
    assert "Should our team go remote?" in prompt[1]["content"]
    assert prompt[2]["content"] == first.reply(0)
    assert prompt[3]["content"].startswith(f"[@two] {second.reply(0)}\n")


async def test_a_body_for_an_agent_may_leave_everything_but_name_and_model_out(client):
    response = await client.post("/api/v1/agents", json={"name": "Plain", "model": "openai/fake"})

    agent = response.json()
    assert (agent["kind"], agent["handle"], agent["persona"]) == ("llm", "plain", "")
    assert agent["params"]["max_tokens"] > 0
    assert set(agent_body()) <= set(agent)
