"""People and agents outside who do not answer: their turn passes on, or a stand-in takes it."""

import pytest

from tests.fixtures.problems import problem
from tests.fixtures.receivers import answer
from tests.fixtures.scripted_server import Reply
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

SOON = {"human_seconds": 0.2, "external_seconds": 0.2}


async def say(client, discussion, content="What of rent?"):
    return await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": content})


async def test_who_does_not_answer_in_time_is_passed_over_and_uses_up_the_turn(
    client, owner, make_agent, make_discussion, sql
):
    participants = [{"user_id": owner.id}, {"agent_id": (await make_agent()).id}]
    discussion = await make_discussion(participants=participants, waiting=SOON)
    assert discussion.deadline is not None

    viewer = await watch_to_the_end(client, discussion.id)

    silent = discussion.participants[0]["id"]
    [passed] = viewer.of_type("turn.passed")
    assert passed.data == {"turn": 1, "attempt": 1, "participant_id": silent, "reason": "deadline"}
    assert viewer.types[3:6] == ["turn.passed", "discussion.resumed", "turn.started"]
    assert [message["turn"] for message in viewer.checker.messages.values()] == [2]
    turns = "SELECT turn, participant_id::text, outcome FROM turns WHERE discussion_id = %s ORDER BY turn"
    assert sql(turns, discussion.id)[0] == (1, silent, "passed")
    assert sql("SELECT turn, deadline_at, floor_id FROM discussions WHERE id = %s", discussion.id) == [(2, None, None)]


async def test_with_everybody_silent_for_ever_it_ends_all_the_same(client, owner, make_discussion):
    waiting = {"human_seconds": 0.01}
    discussion = await make_discussion(participants=[{"user_id": owner.id}], waiting=waiting, limits={"max_turns": 3})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["turn"] for event in viewer.of_type("turn.passed")] == [1, 2, 3]
    assert viewer.events[-1].data["end_reason"] == "max_turns"
    assert viewer.checker.messages == {}


async def test_without_a_deadline_it_waits(owner, make_discussion):
    discussion = await make_discussion(participants=[{"user_id": owner.id}], waiting={"human_seconds": None})

    assert (discussion.status, discussion.deadline) == ("waiting", None)


async def test_an_answer_in_time_ends_the_wait(client, owner, make_agent, make_discussion):
    participants = [{"user_id": owner.id}, {"agent_id": (await make_agent()).id}]
    discussion = await make_discussion(participants=participants, waiting={"human_seconds": 30})

    posted = (await say(client, discussion)).json()["discussion"]
    viewer = await watch_to_the_end(client, discussion.id)

    assert posted["deadline"] is None
    assert viewer.of_type("turn.passed") == []


@pytest.fixture
def left_to_a_person(make_agent, make_discussion):
    """A discussion in which a person has to choose every speaker."""

    async def make(**changes):
        return await make_discussion(agents=[await make_agent()], turn_policy={"type": "manual"}, **changes)

    return make


async def test_in_which_nobody_chooses_a_speaker_it_pauses_and_asks_again_when_resumed(client, left_to_a_person):
    discussion = await left_to_a_person(waiting=SOON)
    async with watching(client, discussion.id) as viewer:
        first = await viewer.until("discussion.paused")
        resumed = (await client.post(f"/api/v1/discussions/{discussion.id}/resume")).json()
        again = await viewer.until(lambda event: event.type == "discussion.paused" and event.id != first.id)

    assert (discussion.status, resumed["status"]) == ("waiting", "waiting")
    assert discussion.deadline < resumed["deadline"]
    assert again.data == first.data
    assert (first.data["status"], first.data["next_speaker"], first.data["reason"]) == ("paused", None, "deadline")
    assert [event.type for event in viewer.events[-3:]] == [
        "discussion.resumed",
        "discussion.waiting",
        "discussion.paused",
    ]


async def test_past_its_time_one_in_which_nobody_chooses_is_over(client, left_to_a_person):
    discussion = await left_to_a_person(waiting={"human_seconds": None}, limits={"max_turns": 5, "max_seconds": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    assert discussion.deadline is not None
    ended = viewer.events[-1].data
    assert (ended["end_reason"], ended["detail"]) == ("max_seconds", "nobody chose who speaks last")
    assert viewer.of_type("turn.started") == []


async def test_whoever_is_chosen_speaks_without_the_deadline_of_the_choice(client, left_to_a_person):
    discussion = await left_to_a_person(waiting={"human_seconds": 30}, limits={"max_turns": 1})

    request = {"participant": discussion.participants[0]["handle"]}
    chosen = await client.post(f"/api/v1/discussions/{discussion.id}/floor", json=request)

    assert (chosen.json()["status"], chosen.json()["deadline"]) == ("running", None)
    assert (await watch_to_the_end(client, discussion.id)).events[-1].data["end_reason"] == "max_turns"


@pytest.fixture
async def deputy(make_agent):
    return await make_agent("Deputy")


@pytest.fixture
def with_stand_in(owner, make_agent, make_discussion, deputy):
    """A person with a stand-in, and an agent."""

    async def make(**changes):
        seats = [
            {"user_id": owner.id, "stand_in_agent_id": deputy.id},
            {"agent_id": (await make_agent("Skeptic")).id},
        ]
        return await make_discussion(participants=seats, **{"waiting": SOON, **changes})

    return make


async def test_a_stand_in_speaks_in_its_own_name_and_the_order_goes_on(client, with_stand_in):
    discussion = await with_stand_in(limits={"max_turns": 4}, waiting={**SOON, "on_deadline": "stand_in"})

    viewer = await watch_to_the_end(client, discussion.id)

    spoken = [(message["turn"], message["handle"], message["kind"]) for message in viewer.checker.messages.values()]
    assert spoken == [(1, "deputy", "llm"), (2, "skeptic", "llm"), (3, "deputy", "llm"), (4, "skeptic", "llm")]
    assert viewer.of_type("turn.passed") == []
    seat = discussion.participants[2]
    resumed = viewer.of_type("discussion.resumed")[0].data
    assert resumed["next_speaker"] == {"participant_id": seat["id"], "handle": "deputy", "reason": "stand_in"}
    assert (resumed["status"], resumed["deadline"]) == ("running", None)
    assert viewer.of_type("turn.started")[0].data["reason"] == "stand_in"


async def test_a_stand_in_has_a_seat_outside_the_speaking_order(with_stand_in, deputy):
    discussion = await with_stand_in(start=False)

    principal, _agent, stand_in = discussion.participants
    assert (stand_in["role"], stand_in["stands_in_for"], stand_in["agent_id"]) == (
        "stand_in",
        principal["id"],
        deputy.id,
    )
    assert principal["stands_in_for"] is None
    assert discussion.waiting["on_deadline"] is None


async def test_a_stand_in_is_passed_over_where_a_skip_is_asked_for(client, with_stand_in):
    discussion = await with_stand_in(waiting={**SOON, "on_deadline": "skip"})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["reason"] for event in viewer.of_type("turn.passed")] == ["deadline"]
    assert {message["handle"] for message in viewer.checker.messages.values()} == {"skeptic"}


async def test_a_stand_in_is_silent_while_its_principal_speaks(client, with_stand_in):
    discussion = await with_stand_in(waiting={"human_seconds": 30})

    await say(client, discussion)
    viewer = await watch_to_the_end(client, discussion.id)

    assert [message["handle"] for message in viewer.checker.messages.values()] == ["ada-byron", "skeptic"]


async def test_a_principal_may_still_speak_while_its_stand_in_does(client, with_stand_in, deputy):
    slow = {"model": "openai/fake?tokens=30&delay_ms=20"}
    await client.patch(f"/api/v1/agents/{deputy.id}", json=slow)
    discussion = await with_stand_in()

    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        late = (await say(client, discussion, "Sorry, I was away.")).json()["message"]
        await viewer.until_ended()

    assert late["turn"] is None
    assert [message["turn"] for message in viewer.checker.messages.values()] == [None, 1, 2]


async def test_one_agent_may_stand_in_for_two(client, owner, colleague, make_discussion, deputy):
    two = (owner, await colleague("member"))
    people = [{"user_id": one.id, "stand_in_agent_id": deputy.id} for one in two]

    discussion = await make_discussion(participants=people, waiting=SOON)
    viewer = await watch_to_the_end(client, discussion.id)

    handles = [message["handle"] for message in viewer.checker.messages.values()]
    assert handles == [seat["handle"] for seat in discussion.participants[2:]]
    assert len(set(handles)) == 2


async def test_a_stand_in_takes_over_at_once_from_an_agent_that_cannot_be_reached(
    client, make_external, make_discussion, deputy, receiver
):
    receiver.answers(Reply(status=404))
    seats = [{"agent_id": (await make_external()).id, "stand_in_agent_id": deputy.id}]
    discussion = await make_discussion(participants=seats, limits={"max_turns": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [message["handle"] for message in viewer.checker.messages.values()] == ["deputy"]


async def test_the_token_of_a_turn_that_a_stand_in_took_has_expired(
    client, anonymous, make_external, make_discussion, deputy, receiver, sql
):
    await client.patch(f"/api/v1/agents/{deputy.id}", json={"model": "openai/fake?endless&delay_ms=20"})
    seats = [{"agent_id": (await make_external()).id, "stand_in_agent_id": deputy.id}]
    discussion = await make_discussion(participants=seats)
    token = await receiver.token()
    sql("UPDATE discussions SET deadline_at = now() WHERE id = %s", discussion.id)

    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        problem(await answer(anonymous, discussion.id, token), 409, "turn_token_expired")
        await client.post(f"/api/v1/discussions/{discussion.id}/stop")


@pytest.mark.parametrize("wrong", ["outside stands in", "for an llm"])
async def test_only_an_llm_agent_stands_in_and_only_for_those_outside(
    client, owner, make_external, make_agent, deputy, wrong
):
    if wrong == "outside stands in":
        seats = [{"user_id": owner.id, "stand_in_agent_id": (await make_external()).id}]
    else:
        seats = [{"agent_id": (await make_agent()).id, "stand_in_agent_id": deputy.id}]

    response = await client.post("/api/v1/discussions", json={"topic": "Rent", "participants": seats})

    problem(response, 422, "unsupported_stand_in")


async def test_a_stand_in_of_another_workspace_does_not_exist(client, owner, make_agent, stranger):
    foreign = await make_agent(by=stranger)
    seats = [{"user_id": owner.id, "stand_in_agent_id": foreign.id}]

    response = await client.post("/api/v1/discussions", json={"topic": "Rent", "participants": seats})

    problem(response, 404, "agent_not_found")
