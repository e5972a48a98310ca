"""Messages: who may say what when, and where it stands in the log."""

import asyncio

import pytest

from app.domain.discussion import Status
from tests.factories.discussions import ENDLESS
from tests.fixtures.problems import problem
from tests.fixtures.reads import log_of
from tests.fixtures.viewer import watch_to_the_end, watching, watching_from_the_start

pytestmark = pytest.mark.anyio

UNKNOWN = "019a0000-0000-7000-8000-000000000000"


async def say(client, discussion, content="What of rent?", **more):
    return await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": content, **more})


async def test_somebody_without_a_seat_is_given_a_guests(client, owner, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    posted = (await say(client, draft)).json()

    guest = posted["discussion"]["participants"][-1]
    assert (guest["role"], guest["kind"], guest["handle"], guest["user_id"]) == (
        "guest",
        "human",
        "ada-byron",
        owner.id,
    )
    assert (posted["message"]["participant_id"], posted["message"]["turn"]) == (guest["id"], None)
    joined, completed = (await log_of(client, draft))[-2:]
    assert (joined["type"], joined["data"]["participant"]) == ("participant.joined", guest)
    assert completed["data"] == posted["message"]


async def test_a_guest_keeps_the_seat(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    first, second = (await say(client, draft)).json(), (await say(client, draft, "And of trains?")).json()

    assert first["message"]["participant_id"] == second["message"]["participant_id"]
    assert len(second["discussion"]["participants"]) == 3


async def test_a_guest_never_has_the_floor(client, make_agent, make_discussion):
    discussion = await make_discussion(status=Status.DRAFT, agents=[await make_agent()], limits={"max_turns": 3})
    await say(client, discussion)
    await client.post(f"/api/v1/discussions/{discussion.id}/start")

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["handle"] for event in viewer.of_type("turn.started")] == ["skeptic"] * 3


async def test_a_message_is_shown_as_the_contract_says(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    message = (await say(client, draft)).json()["message"]

    assert set(message) == {
        *("id", "seq", "turn", "attempt", "participant_id", "handle", "name", "kind", "content", "status"),
        *("reply_to", "visible_to", "citations", "dropped_citations", "tools", "parsed", "usage", "created_at"),
    }
    assert (message["kind"], message["status"], message["usage"], message["citations"]) == (
        "human",
        "complete",
        None,
        [],
    )
    assert message["seq"] == 3


async def test_a_message_may_reply_to_another(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    first = (await say(client, draft)).json()["message"]

    second = (await say(client, draft, "Indeed.", reply_to=first["id"])).json()["message"]

    assert second["reply_to"] == first["id"]


async def test_a_reply_to_nothing_is_refused_and_not_written(client, owner, make_discussion, rows_of):
    draft = await make_discussion(status=Status.DRAFT)
    before = rows_of(owner)

    problem(await say(client, draft, reply_to=UNKNOWN), 422, "unknown_reply")

    assert rows_of(owner) == before


async def test_a_reply_to_another_discussions_message_is_refused(client, make_discussion, make_agent):
    agent = await make_agent()
    one, other = [await make_discussion(status=Status.DRAFT, agents=[agent]) for _ in range(2)]
    message = (await say(client, one)).json()["message"]

    problem(await say(client, other, reply_to=message["id"]), 422, "unknown_reply")


async def test_nobody_speaks_from_anothers_seat(client, owner, make_discussion, rows_of):
    draft = await make_discussion(status=Status.DRAFT)
    before = rows_of(owner)

    problem(await say(client, draft, participant_id=draft.participants[0]["id"]), 403, "not_your_seat")

    assert rows_of(owner) == before


async def test_a_seat_that_is_not_at_the_table_is_not_found(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    problem(await say(client, draft, participant_id=UNKNOWN), 404, "not_found")


async def test_ones_own_seat_may_be_named(client, make_discussion):
    waiting = await make_discussion(status=Status.WAITING)

    response = await say(client, waiting, participant_id=waiting.participants[0]["id"])

    assert response.status_code == 201


async def test_whoever_has_the_floor_takes_a_turn_by_speaking_and_the_next_is_decided(client, make_discussion):
    waiting = await make_discussion(status=Status.WAITING, limits={"max_turns": 4})
    assert waiting.next_speaker["participant_id"] == waiting.participants[0]["id"]

    async with watching(client, waiting.id) as viewer:
        posted = (await say(client, waiting)).json()
        await viewer.until(lambda event: event.type == "discussion.waiting" and event.position[0] > 5)
        again = (await client.get(f"/api/v1/discussions/{waiting.id}")).json()
        await say(client, waiting, "Thank you.")
        await viewer.until_ended()

    assert (posted["message"]["turn"], posted["message"]["attempt"]) == (1, 1)
    assert (posted["discussion"]["status"], posted["discussion"]["turn"]) == ("running", 1)
    assert (again["status"], again["turn"]) == ("waiting", 3)
    assert again["next_speaker"]["handle"] == "ada-byron"
    assert viewer.types[:4] == ["discussion.created", "discussion.started", "discussion.waiting", "message.completed"]
    assert viewer.types[4] == "discussion.resumed"
    assert [m["turn"] for m in viewer.checker.messages.values()] == [1, 2, 3, 4]
    assert viewer.events[-1].data["end_reason"] == "max_turns"


async def test_another_than_who_has_the_floor_may_speak_and_does_not_take_it(colleague, make_discussion):
    waiting = await make_discussion(status=Status.WAITING)
    other = await colleague("member")

    posted = (await say(other.http, waiting)).json()

    assert (posted["message"]["turn"], posted["discussion"]["status"]) == (None, "waiting")
    assert posted["discussion"]["next_speaker"]["handle"] == "ada-byron"


async def test_a_human_alone_may_discuss_with_themselves(client, owner, make_discussion):
    discussion = await make_discussion(participants=[{"user_id": owner.id}], limits={"max_turns": 2})

    statuses = [(await say(client, discussion, word)).json()["discussion"]["status"] for word in ("Yes.", "No.")]

    assert statuses == ["waiting", "ended"]


async def test_a_phrase_of_a_humans_turn_ends_the_discussion(client, make_discussion):
    waiting = await make_discussion(status=Status.WAITING, stop_when=[{"type": "phrase", "phrase": "we agree"}])

    posted = (await say(client, waiting, "So WE AGREE, then.")).json()["discussion"]

    assert (posted["status"], posted["end_reason"]) == ("ended", "stop_condition")


async def test_nothing_can_be_said_after_the_end(client, owner, make_discussion, rows_of):
    ended = await make_discussion(status=Status.ENDED)
    before = rows_of(owner)

    problem(await say(client, ended), 409, "discussion_ended")

    assert rows_of(owner) == before


async def test_an_interjection_enters_at_once_and_is_in_the_next_prompt(
    client, make_agent, make_discussion, make_model
):
    model = make_model("tokens=25&delay_ms=20")
    agent = await make_agent("Solo", model=model.name)
    discussion = await make_discussion(status=Status.DRAFT, agents=[agent])
    async with watching_from_the_start(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        posted = (await say(client, discussion, "What of [@solo] rent?")).json()["message"]
        heard = await viewer.until("message.completed", seconds=1)
        await viewer.until_ended()

    assert heard.data == posted
    assert [message["handle"] for message in viewer.checker.messages.values()] == ["ada-byron", "solo", "solo"]
    assert len(viewer.checker.shown_whole) == 2
    assert len(model.prompts) == 2
    assert "rent" not in str(model.prompts[0])
    _, opening, own, _ = model.prompts[1]
    assert opening["content"].endswith("[@ada-byron] What of (@solo] rent?")
    assert own == {"role": "assistant", "content": model.reply(0)}


async def test_a_flood_of_interjections_does_not_keep_the_speaker_from_finishing(client, make_agent, make_discussion):
    talker = await make_agent(model="openai/fake?tokens=40&delay_ms=25")
    discussion = await make_discussion(agents=[talker], limits={"max_turns": 1})
    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        said = await asyncio.gather(*(say(client, discussion, f"Interjection {number}") for number in range(15)))
        await viewer.until_ended()

    assert {response.status_code for response in said} == {201}
    assert len(viewer.checker.messages) == 16
    assert [m["turn"] for m in viewer.checker.messages.values() if m["turn"] is not None] == [1]


async def test_people_who_write_without_a_pause_do_not_keep_a_turn_from_its_end(client, make_agent, make_discussion):
    """Each of their words changes the log that the driver is about to write to."""
    talker = await make_agent(model="openai/fake?tokens=10&delay_ms=20")
    discussion = await make_discussion(status=Status.DRAFT, agents=[talker], limits={"max_turns": 5})
    answers = []

    async def keep_talking(viewer):
        while "discussion.ended" not in viewer.types:
            answers.append(await say(client, discussion, "And another thing."))

    async with watching_from_the_start(client, discussion.id) as viewer:
        talking = [asyncio.create_task(keep_talking(viewer)) for _ in range(6)]
        await viewer.until_ended(15)
        await asyncio.gather(*talking)

    spoken = [message for message in viewer.checker.messages.values() if message["turn"] is not None]
    assert [message["turn"] for message in spoken] == [1, 2, 3, 4, 5]
    accepted = [answer for answer in answers if answer.status_code == 201]
    assert len(accepted) == len(viewer.checker.messages) - 5
    assert len(accepted) > 20
    for refused in (answer for answer in answers if answer.status_code != 201):
        problem(refused, 409, "discussion_ended")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": ""},
        {"content": " \n\t"},
        {"content": 5},
        {"content": None},
        {"content": "x" * 64_001},
        {"content": "Hi", "reply_to": "first"},
        {"content": "Hi", "participant_id": 1},
        {"content": "Hi", "turn": 3},
    ],
)
async def test_a_message_that_makes_no_sense_is_refused_and_not_written(client, owner, make_discussion, rows_of, body):
    draft = await make_discussion(status=Status.DRAFT)
    before = rows_of(owner)

    response = await client.post(f"/api/v1/discussions/{draft.id}/messages", json=body)

    assert problem(response, 422, "validation_failed")["errors"]
    assert rows_of(owner) == before


async def test_messages_are_listed_in_both_orders(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    for word in ("one", "two", "three"):
        await say(client, draft, word)

    async def listed(order):
        response = await client.get(f"/api/v1/discussions/{draft.id}/messages", params={"order": order})
        return [message["content"] for message in response.json()["items"]]

    assert await listed("asc") == ["one", "two", "three"]
    assert await listed("desc") == ["three", "two", "one"]


async def test_words_keep_their_white_space(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    message = (await say(client, draft, "  indented\n\ttext \n")).json()["message"]

    assert message["content"] == "  indented\n\ttext \n"


async def test_speaking_never_waits_for_a_silent_model(client, make_agent, make_discussion):
    discussion = await make_discussion(agents=[await make_agent(model="openai/fake?hang_first")])

    async with asyncio.timeout(2):
        assert (await say(client, discussion)).status_code == 201
    await client.post(f"/api/v1/discussions/{discussion.id}/stop")


async def test_a_message_does_not_move_an_agents_floor(client, make_agent, make_discussion):
    discussion = await make_discussion(agents=[await make_agent(model=ENDLESS)])

    posted = (await say(client, discussion)).json()["discussion"]

    assert (posted["status"], posted["next_speaker"]["handle"], posted["turn"]) == ("running", "skeptic", 0)
    await client.post(f"/api/v1/discussions/{discussion.id}/stop")
