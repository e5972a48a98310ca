"""Stand-ins keep standing in, however a discussion is changed, joined, left or forked."""

import pytest

from app.domain.discussion import Status
from tests.factories.agents import Record
from tests.factories.discussions import seats
from tests.fixtures.problems import problem
from tests.fixtures.reads import read
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

SOON = {"human_seconds": 0.2}
TWO = {"max_turns": 2}


@pytest.fixture
async def deputy(make_agent):
    return await make_agent("Deputy")


@pytest.fixture
async def skeptic(make_agent):
    return await make_agent("Skeptic")


@pytest.fixture
def with_stand_in(owner, deputy):
    """The owner, whom the deputy stands in for."""
    return {"user_id": owner.id, "stand_in_agent_id": deputy.id}


async def post(client, made, path, **body):
    response = await client.post(f"/api/v1/discussions/{made.id}/{path}", json=body)
    assert response.status_code < 300, response.text
    return Record(response.json())


async def leave(client, made, seat):
    assert (await client.delete(f"/api/v1/discussions/{made.id}/participants/{seat['id']}")).status_code == 204


async def participants_of(client, made):
    return (await read(client, made))["participants"]


def of_handle(participants, handle):
    return next((seat for seat in participants if seat["handle"] == handle), None)


async def speakers(client, made):
    viewer = await watch_to_the_end(client, made.id)
    return [message["handle"] for message in viewer.checker.messages.values()]


async def test_a_change_of_the_seconds_keeps_the_stand_in_standing_in(client, with_stand_in, skeptic, make_discussion):
    made = await make_discussion(status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)], limits=TWO)

    changed = await client.patch(f"/api/v1/discussions/{made.id}", json={"waiting": SOON})
    await post(client, made, "start")

    assert changed.json()["waiting"]["on_deadline"] is None
    assert await speakers(client, made) == ["deputy", "skeptic"]


async def test_a_stand_in_that_comes_later_stands_in(client, with_stand_in, skeptic, make_discussion):
    made = await make_discussion(status=Status.DRAFT, agents=[skeptic], limits=TWO, waiting=SOON)

    await post(client, made, "participants", **with_stand_in)
    await post(client, made, "start")

    assert await speakers(client, made) == ["skeptic", "deputy"]


async def test_where_only_some_have_a_stand_in_the_others_are_passed_over(
    client, with_stand_in, colleague, make_discussion
):
    other = {"user_id": (await colleague("member")).id}
    made = await make_discussion(participants=[other, with_stand_in], limits=TWO, waiting=SOON)

    assert await speakers(client, made) == ["deputy"]


async def test_who_comes_back_has_the_stand_in_they_had(client, with_stand_in, skeptic, owner, make_discussion):
    made = await make_discussion(
        status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)], limits=TWO, waiting=SOON
    )
    principal, _, stand_in = made.participants
    await leave(client, made, principal)
    assert of_handle(await participants_of(client, made), "deputy") is None

    await post(client, made, "participants", user_id=owner.id)

    assert of_handle(await participants_of(client, made), "deputy") == stand_in
    await post(client, made, "start")
    assert "deputy" in await speakers(client, made)


async def test_who_comes_back_without_a_stand_in_has_none(client, with_stand_in, skeptic, owner, make_discussion):
    made = await make_discussion(status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)])
    await leave(client, made, made.participants[0])

    await post(client, made, "participants", user_id=owner.id, stand_in_agent_id=None)

    assert of_handle(await participants_of(client, made), "deputy") is None


async def test_who_comes_back_may_have_another_stand_in_and_the_first_again(
    client, with_stand_in, skeptic, owner, make_agent, make_discussion
):
    made = await make_discussion(status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)])
    principal, _, first = made.participants
    other = await make_agent("Other")

    await leave(client, made, principal)
    await post(client, made, "participants", user_id=owner.id, stand_in_agent_id=other.id)
    then = await participants_of(client, made)
    await leave(client, made, principal)
    await post(client, made, "participants", **with_stand_in)
    now = await participants_of(client, made)

    assert (of_handle(then, "other")["stands_in_for"], of_handle(then, "deputy")) == (principal["id"], None)
    assert (of_handle(now, "deputy"), of_handle(now, "other")) == (first, None)


async def test_a_guest_who_is_made_a_speaker_may_have_a_stand_in(client, with_stand_in, skeptic, make_discussion):
    made = await make_discussion(status=Status.DRAFT, agents=[skeptic])
    await post(client, made, "messages", content="May I?")

    speaker = await post(client, made, "participants", **with_stand_in)

    stand_in = of_handle(await participants_of(client, made), "deputy")
    assert (speaker["role"], stand_in["stands_in_for"]) == ("speaker", speaker["id"])


async def test_who_comes_back_with_a_stand_in_that_there_is_not_stays_away(
    client, with_stand_in, skeptic, stranger, make_agent, make_discussion
):
    made = await make_discussion(status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)])
    await leave(client, made, made.participants[0])
    foreign = await make_agent("Foreign", by=stranger)
    body = {**with_stand_in, "stand_in_agent_id": foreign.id}

    problem(await client.post(f"/api/v1/discussions/{made.id}/participants", json=body), 404, "agent_not_found")
    assert [seat["handle"] for seat in await participants_of(client, made)] == ["skeptic"]


async def test_the_first_stand_in_of_a_fork_stands_in(client, owner, with_stand_in, skeptic, make_discussion):
    people = [{"user_id": owner.id}, *seats(skeptic)]
    made = await make_discussion(status=Status.DRAFT, participants=people, limits=TWO)

    forked = await post(client, made, "fork", participants=[with_stand_in, *seats(skeptic)], waiting=SOON)

    assert (forked.waiting["human_seconds"], forked.waiting["on_deadline"]) == (0.2, None)
    assert of_handle(forked.participants, "deputy")["stands_in_for"] == forked.participants[0]["id"]
    assert await speakers(client, forked) == ["deputy", "skeptic"]


async def test_a_fork_may_name_another_stand_in_or_none(
    client, with_stand_in, skeptic, owner, make_agent, make_discussion
):
    made = await make_discussion(status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)])
    other = await make_agent("Other")

    async def stand_ins(**seat):
        forked = await post(client, made, "fork", start=False, participants=[{"user_id": owner.id, **seat}])
        return [seat["handle"] for seat in forked.participants if seat["role"] == "stand_in"]

    assert await stand_ins() == ["deputy"]
    assert await stand_ins(stand_in_agent_id=other.id) == ["other"]
    assert await stand_ins(stand_in_agent_id=None) == []


async def test_a_fork_has_the_stand_ins_that_sat_there_at_that_point(
    client, owner, with_stand_in, skeptic, make_discussion
):
    made = await make_discussion(
        status=Status.DRAFT, participants=[with_stand_in, *seats(skeptic)], title="One with a stand-in"
    )
    await leave(client, made, made.participants[0])
    await post(client, made, "participants", user_id=owner.id, stand_in_agent_id=None)

    before, after = [await post(client, made, "fork", start=False, at_seq=at_seq) for at_seq in (1, None)]

    assert of_handle(before.participants, "deputy") is not None
    assert of_handle(after.participants, "deputy") is None
