"""Every read can be asked whether it has changed, and what is ended may be kept without asking."""

import pytest

from app.domain.discussion import Status
from tests.fixtures.routes import DOCUMENT, PROTECTED
from tests.fixtures.things import call

pytestmark = pytest.mark.anyio


def answers_json(method, path):
    found = DOCUMENT[path][method]["responses"].get("200", {})
    return method == "get" and path.startswith("/api/v1/") and "application/json" in found.get("content", {})


READS = [route for route in PROTECTED if answers_json(*route) and not route[1].startswith("/api/v1/admin/")]


@pytest.mark.parametrize(("method", "path"), READS)
async def test_whoever_holds_what_would_be_sent_is_sent_nothing(client, things, method, path):
    first = await call(client, method, path, things, headers={"Accept": "application/json"})
    tag = first.headers["ETag"]
    again = await call(client, method, path, things, headers={"Accept": "application/json", "If-None-Match": tag})
    other = await call(client, method, path, things, headers={"Accept": "application/json", "If-None-Match": '"other"'})

    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert again.content == b""
    assert again.headers["ETag"] == tag
    assert "Content-Type" not in again.headers
    assert first.headers["Cache-Control"] in {"private, no-cache", "no-store"}
    assert other.json() == first.json()


async def test_a_change_gives_another_tag(client, make_agent):
    agent = await make_agent()
    before = await client.get("/api/v1/agents")

    await client.patch(f"/api/v1/agents/{agent.id}", json={"persona": "You doubt everything."})
    after = await client.get("/api/v1/agents", headers={"If-None-Match": before.headers["ETag"]})

    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]


async def test_refusals_have_no_tag(client):
    refused = await client.get("/api/v1/agents?limit=0")

    assert refused.status_code == 422
    assert "ETag" not in refused.headers
    assert refused.headers["Cache-Control"] == "no-store"


OF_A_DISCUSSION = ("messages", "transcript", "transcript?format=md", "events?limit=1")


@pytest.mark.parametrize("what", OF_A_DISCUSSION)
async def test_what_an_ended_discussion_said_may_be_kept_without_asking(client, make_discussion, what):
    ended = await make_discussion(status=Status.ENDED)
    address = f"/api/v1/discussions/{ended.id}/{what}"

    response = await client.get(address)
    kept = response.headers["Cache-Control"]

    assert "immutable" in kept
    assert kept.startswith("private, max-age=")
    assert {"Authorization", "X-Workspace-ID"} <= {name.strip() for name in response.headers["Vary"].split(",")}
    again = await client.get(address, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Cache-Control"] == kept


@pytest.mark.parametrize("what", OF_A_DISCUSSION)
async def test_what_goes_on_must_be_asked_for_anew(client, make_discussion, what):
    talk = await make_discussion(status=Status.DRAFT)

    response = await client.get(f"/api/v1/discussions/{talk.id}/{what}")

    assert response.status_code == 200
    assert "immutable" not in response.headers["Cache-Control"]


async def test_a_page_of_the_log_that_the_title_may_still_change_is_not_kept(client, make_discussion):
    ended = await make_discussion(status=Status.ENDED)

    whole = await client.get(f"/api/v1/discussions/{ended.id}/events?limit=200")

    assert "immutable" not in whole.headers["Cache-Control"]
