"""A page that is asked for again is answered from memory: to the same reader alone, and never an old one."""

import pytest

from app.domain.discussion import Status
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

TO_ALL, TO_ONE = "To all of you.", "Between us."


@pytest.fixture
async def talk(make_discussion):
    return await make_discussion(status=Status.DRAFT)


def address_of(talk):
    return f"/api/v1/discussions/{talk.id}/messages"


async def say(http, talk, content, **more):
    said = await http.post(address_of(talk), json={"content": content, **more})
    assert said.status_code == 201, said.text
    return said.json()["message"]


async def contents(http, talk, query=""):
    answer = await http.get(address_of(talk) + query)
    assert answer.status_code == 200, answer.text
    return [message["content"] for message in answer.json()["items"]]


async def test_each_repeat_shows_what_was_said_meanwhile(client, talk):
    said = []
    for number in range(5):
        assert [await contents(client, talk) for _ in range(3)] == [said] * 3
        said.append(f"Word {number}")
        await say(client, talk, said[-1])

    assert await contents(client, talk, "?order=desc&limit=2") == said[:2:-1]
    assert await contents(client, talk, "?order=asc&limit=2") == said[:2]


async def test_each_reader_is_shown_what_is_theirs(client, talk, colleague):
    member, other, moderator = await colleague("member"), await colleague("member"), await colleague("moderator")
    own = (await say(member.http, talk, TO_ALL))["participant_id"]
    await say(client, talk, TO_ONE, visible_to=[own])
    shown = {member: [TO_ALL, TO_ONE], other: [TO_ALL], moderator: [TO_ALL, TO_ONE]}

    for _ in range(3):
        for reader, wanted in shown.items():
            assert await contents(reader.http, talk) == wanted


async def test_a_changed_role_is_another_page(client, owner, talk, colleague):
    reader = await colleague("member")
    await say(client, talk, TO_ALL)
    await say(client, talk, TO_ONE, visible_to=[(await say(client, talk, TO_ALL))["participant_id"]])
    place = f"/api/v1/workspaces/{owner.workspace_id}/members/{reader.id}"
    for role, wanted in (("moderator", 3), ("member", 2), ("viewer", 2)):
        assert await contents(reader.http, talk)
        assert (await client.put(place, json={"role": role})).status_code == 200

        async def sees(count=wanted):
            return len(await contents(reader.http, talk)) == count

        await eventually(sees)
    assert (await client.delete(place)).status_code == 204

    async def is_out():
        return (await reader.http.get(address_of(talk))).status_code == 404

    await eventually(is_out)
    problem(await reader.http.get(address_of(talk)), 404, "not_found")


async def test_an_address_that_is_known_lets_in_nobody_else(client, talk, stranger, anonymous, make_key, connect):
    assert await contents(client, talk) == await contents(client, talk) == []
    narrow = await connect((await make_key("agents:read"))["key"])

    for _ in range(2):
        problem(await stranger.http.get(address_of(talk)), 404, "not_found")
        problem(await anonymous.get(address_of(talk)), 401, "unauthenticated")
        problem(await narrow.get(address_of(talk)), 403, "insufficient_scope")
        for header, status in ((stranger.workspace_id, 404), ("nowhere", 422)):
            answer = await client.get(address_of(talk), headers={"X-Workspace-ID": header})
            problem(answer, status, answer.json()["code"])


async def test_a_refused_address_is_refused_again(client, talk):
    for _ in range(2):
        for query in ("?limit=0", "?limit=many", "?order=up", "?cursor=none"):
            assert (await client.get(address_of(talk) + query)).status_code == 422


async def test_a_deleted_discussion_has_no_page_left(client, talk):
    await say(client, talk, TO_ALL)
    assert await contents(client, talk) == await contents(client, talk) == [TO_ALL]

    assert (await client.delete(f"/api/v1/discussions/{talk.id}")).status_code == 204

    problem(await client.get(address_of(talk)), 404, "not_found")


async def test_a_page_outlives_its_connection(workerless, make_user, make_discussion, fresh_database):
    person = await make_user(at=workerless)
    talk = await make_discussion(by=person, status=Status.DRAFT)
    await say(person.http, talk, TO_ALL)
    assert await contents(person.http, talk) == await contents(person.http, talk) == [TO_ALL]
    for _ in range(3):
        rows(
            fresh_database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'arena-api'",
        )

        async def is_back():
            answer = await person.http.get(address_of(talk))
            assert answer.status_code == 200 or answer.json()["code"] == "database_away"
            return answer.status_code == 200 and answer.json()["items"][0]["content"] == TO_ALL

        await eventually(is_back)
