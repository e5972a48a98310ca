"""What a process counts is for Prometheus on the same machine, or with the operator's token, and for nobody else."""

import pytest

from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

TOKEN = "a token for the one that scrapes"


async def test_on_loopback_anybody_may_read_how_often_caches_were_of_use(client, anonymous, make_agent):
    await make_agent()
    for _ in range(2):
        await client.get("/api/v1/agents")

    response = await anonymous.get("/metrics")

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    assert 'arena_cache_requests_total{cache="agents",outcome="hit"}' in response.text


async def test_with_a_token_only_who_shows_it_may(make_arena, connect):
    http = await connect(at=make_arena(server={"metrics_token": TOKEN}))

    problem(await http.get("/metrics"), 404, "not_found")
    problem(await http.get("/metrics", headers={"Authorization": "Bearer another"}), 404, "not_found")
    shown = await http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert shown.status_code == 200
    assert TOKEN not in shown.text
