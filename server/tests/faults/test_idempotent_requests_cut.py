"""The API is killed in the midst of requests that carry keys: sent again, each has been done once."""

import asyncio
import random
from uuid import uuid4

import httpx2
import pytest

from tests.factories.agents import agent_body

pytestmark = pytest.mark.anyio

AT_ONCE = 24
ROUNDS = 3


async def test_a_killed_api_leaves_each_request_done_once_or_not_at_all(settings, start_api, owner, connect, sql):
    keys = [uuid4().hex for _ in range(AT_ONCE * ROUNDS)]
    cut = 0
    for round_ in range(ROUNDS):
        process, there = await start_api(settings)
        http = await connect(owner.access_token, at=there)
        sent = [asyncio.create_task(_create(http, key)) for key in keys[round_ * AT_ONCE : (round_ + 1) * AT_ONCE]]
        await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(random.Random(round_).uniform(0, 0.05))
        process.kill()
        cut += sum(isinstance(answer, Exception) for answer in await asyncio.gather(*sent, return_exceptions=True))
    assert cut, "nothing was in the midst of anything"

    answers = await asyncio.gather(*(_until_done(owner.http, key) for key in keys))

    names = [name for (name,) in sql("SELECT name FROM agents WHERE workspace_id = %s", owner.workspace_id)]
    assert sorted(names) == sorted(keys)
    assert {answer["name"]: answer["id"] for answer in answers} == dict(
        sql("SELECT name, id::text FROM agents WHERE workspace_id = %s", owner.workspace_id)
    )


async def _create(http: httpx2.AsyncClient, key: str) -> httpx2.Response:
    # A handle of its own: deriving one would take turns, and hardly two would be in the midst of anything at once.
    body = agent_body(key, handle=key)
    return await http.post("/api/v1/agents", json=body, headers={"Idempotency-Key": key})


async def _until_done(http: httpx2.AsyncClient, key: str) -> dict[str, str]:
    """Send it again until it is not told to wait: a claim of a dead process lapses by itself."""
    for _ in range(40):
        answer = await _create(http, key)
        if answer.status_code == 201:
            return answer.json()
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_progress"), answer.text
        await asyncio.sleep(0.5)
    raise AssertionError("the key stays claimed")
