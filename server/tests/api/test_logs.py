"""What the processes log: one line a request and a turn, and nobody's secrets or words."""

from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from app.engines.ports import free_port
from tests.fixtures.arena import Arena
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD, Person
from tests.fixtures.processes import Process
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a"
MODEL_KEY = f"sk-{CANARY}-key"


@dataclass
class Told:
    """What two processes logged while a discussion was held, and what must not be in it."""

    api: Process
    worker: Process
    discussion: dict[str, Any]
    failed: dict[str, Any]
    secrets: dict[str, str]
    person: Person


@pytest.fixture
async def told(fresh_database, make_settings_like, start_process, start_worker, arena, make_user, connect):
    """Everything that a client can do with a secret in it, done once against processes of their own."""
    place = make_settings_like(database={"database_url": fresh_database}, models={"openai_api_key": MODEL_KEY})
    port = free_port()
    api = start_process("api", settings=place, ARENA_PORT=str(port))
    worker = await start_worker(place)
    there = Arena(place, arena.app, f"http://127.0.0.1:{port}")
    visitor = await connect(at=there)
    await eventually(lambda: _answers(visitor), 20, "the API")
    person = await make_user(f"Name {CANARY}", at=there)
    await visitor.post(
        "/api/v1/auth/token", data={"grant_type": "password", "username": "x", "password": f"p {CANARY}"}
    )
    await visitor.post("/api/v1/auth/register", json={"email": CANARY, "password": CANARY, "display_name": CANARY})
    await (await connect(f"{CANARY}.not.a-token", at=there)).get("/api/v1/auth/me")
    discussion = await _discuss(person, "openai/fake?tokens=8")
    failed = await _discuss(person, "openai/fake?status=401&leak_key")
    secrets = {
        "canary": CANARY,
        "password": PASSWORD,
        "access token": person.access_token,
        "refresh token": person.refresh_token,
        "secret key": place.auth.secret_key.get_secret_value(),
    }
    return Told(api, worker, discussion, failed, secrets, person)


async def _answers(http):
    try:
        return (await http.get("/healthz")).status_code == 200
    except httpx2.TransportError:
        return False


async def _discuss(person, model):
    """A discussion in which every text that can be given holds the canary."""
    base = (await person.http.post("/api/v1/knowledge/bases", json={"name": f"{CANARY} {model}"})).json()
    document = await person.http.post(
        f"/api/v1/knowledge/bases/{base['id']}/documents", json={"title": CANARY, "text": f"Text {CANARY}"}
    )
    agent = await person.http.post(
        "/api/v1/agents",
        json={"name": CANARY, "model": model, "persona": f"Persona {CANARY}", "params": {"stop": [CANARY]}},
    )
    body = {
        "topic": f"Topic {CANARY}",
        "title": CANARY,
        "instructions": CANARY,
        "on_turn_failure": "end",
        "participants": [{"user_id": person.id}, {"agent_id": agent.json()["id"]}],
        "document_ids": [document.json()["id"]],
        "limits": {"max_turns": 2},
    }
    discussion = (await person.http.post("/api/v1/discussions", json=body)).json()
    address = f"/api/v1/discussions/{discussion['id']}"
    await person.http.post(f"{address}/messages", json={"content": f"Words {CANARY}"})
    await person.http.get("/api/v1/agents", params={"q": CANARY, "cursor": CANARY})
    await person.http.get("/api/v1/discussions", params={"q": CANARY})
    await person.http.get(f"/api/v1/discussions/{CANARY}")
    await watch_to_the_end(person.http, discussion["id"])
    await person.http.get(f"{address}/transcript")
    return discussion


async def test_processes_log_requests_and_turns_and_no_secrets(told):
    """One run of two processes, looked at from every side: starting them costs seconds."""
    api, worker = told.api.lines(), told.worker.lines()

    _check_requests(api, told.discussion)
    _check_callers(api, told.person)
    _check_turns(worker, told.discussion)
    _check_failed_turn(worker, told.failed)
    for name, secret in told.secrets.items():
        for process in (told.api, told.worker):
            assert secret not in process.log.read_text(), f"the {name} is in the log of {process.log.name}"


def _check_requests(lines, discussion):
    """One line each, with what it takes to find and to measure a request; none for the probes."""
    requests = [line for line in lines if line["event"] == "request"]
    for line in requests:
        assert {"request_id", "method", "route", "status", "duration_ms", "timestamp", "level"} <= set(line)
        assert line["duration_ms"] > 0
    assert len({line["request_id"] for line in requests}) == len(requests)
    assert not any("healthz" in line["route"] for line in requests)
    posted = [line for line in requests if line["route"] == "/api/v1/discussions/{discussion_id}/messages"]
    assert [(line["method"], line["status"]) for line in posted] == [("POST", 201)] * 2
    assert posted[0]["discussion_id"] == discussion["id"]


def _check_callers(lines, person):
    """Who asked, where it was found out; nobody's name where nobody is known."""
    requests = [line for line in lines if line["event"] == "request"]
    of_discussions = [line for line in requests if line["route"].startswith("/api/v1/discussions")]
    assert of_discussions
    assert {line.get("user_id") for line in of_discussions} == {person.id}
    assert len({line["credential_id"] for line in of_discussions}) == 1
    strangers = [line for line in requests if line["status"] in {401, 422} and "/auth/" in line["route"]]
    assert len(strangers) >= 3
    assert not any({"user_id", "credential_id"} & set(line) for line in strangers)


def _check_turns(lines, discussion):
    [turn] = [line for line in lines if line["event"] == "turn_completed"]
    assert (turn["discussion_id"], turn["turn"], turn["attempt"]) == (discussion["id"], 2, 1)
    assert turn["duration_ms"] >= turn["first_token_ms"] > 0
    assert turn["completion_tokens"] == 8
    assert turn["prompt_tokens"] > 0


def _check_failed_turn(lines, discussion):
    [turn] = [line for line in lines if line["event"] == "turn_failed"]
    assert (turn["discussion_id"], turn["turn"], turn["code"]) == (discussion["id"], 2, "model_unauthorized")
    assert turn["level"] == "error"
