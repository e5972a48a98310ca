"""Forks: another discussion that begins with the log of one; and how two compare."""

import pytest

from app.domain import snapshot
from app.domain.discussion import Status
from tests.factories.agents import Record
from tests.factories.discussions import ENDLESS, seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import log_of, read
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio


async def messages(client, discussion):
    return (await client.get(f"/api/v1/discussions/{discussion.id}/messages")).json()["items"]


async def fork(client, discussion, **changes):
    response = await client.post(f"/api/v1/discussions/{discussion.id}/fork", json=changes)
    assert response.status_code == 201, response.text
    return Record(response.json())


def said(listed):
    return [(message["seq"], message["turn"], message["handle"], message["content"]) for message in listed]


@pytest.fixture
async def parent(client, make_discussion, make_agent, make_model):
    """A discussion of two agents that has ended after four turns."""
    model = make_model("tokens=6")
    agents = [await make_agent(name, model=model.name) for name in ("One", "Two")]
    made = await make_discussion(participants=seats(*agents), limits={"max_turns": 4}, title="The first")
    await watch_to_the_end(client, made.id)
    return made


async def seq_of_turn(client, discussion, turn):
    return next(message["seq"] for message in await messages(client, discussion) if message["turn"] == turn)


async def test_a_fork_begins_with_a_copy_of_the_log_and_goes_on_by_itself(client, parent):
    at_seq = await seq_of_turn(client, parent, 2)

    made = await fork(client, parent, at_seq=at_seq, limits={"max_turns": 5})
    viewer = await watch_to_the_end(client, made.id)

    assert made.parent == {"id": parent.id, "seq": at_seq}
    assert (made.turn, made.title, made.topic) == (2, "The first", parent.topic)
    theirs, ours = await log_of(client, parent), await log_of(client, made)
    assert [(e["seq"], e["type"], e["created_at"]) for e in ours[:at_seq]] == [
        (e["seq"], e["type"], e["created_at"]) for e in theirs[:at_seq]
    ]
    assert ours[at_seq]["type"] == "discussion.forked"
    spoken = await messages(client, made)
    assert said(spoken[:2]) == said((await messages(client, parent))[:2])
    assert [(m["turn"], m["handle"]) for m in spoken] == [(1, "one"), (2, "two"), (3, "one"), (4, "two"), (5, "one")]
    assert viewer.events[-1].data["end_reason"] == "max_turns"


async def test_a_fork_shares_no_id_with_its_parent(client, parent):
    made = await fork(client, parent, start=False)

    assert not {m["id"] for m in await messages(client, parent)} & {m["id"] for m in await messages(client, made)}
    assert not {seat["id"] for seat in parent.participants} & {seat["id"] for seat in made.participants}
    ids = {seat["id"] for seat in made.participants}
    assert {message["participant_id"] for message in await messages(client, made)} <= ids
    assert {m["id"] for m in await messages(client, made)} == {
        event["data"]["id"] for event in await log_of(client, made) if event["type"] == "message.completed"
    }


async def test_a_fork_does_not_touch_its_parent(client, parent):
    before = await read(client, parent)

    await fork(client, parent, at_seq=3, limits={"max_turns": 2})

    assert await read(client, parent) == before


async def test_a_fork_of_an_ended_discussion_goes_on_before_its_end(client, parent):
    ended = await read(client, parent)

    made = await fork(client, parent, limits={"max_turns": 6})
    viewer = await watch_to_the_end(client, made.id)

    assert made.parent["seq"] == ended["last_seq"] - 1
    assert viewer.types.count("discussion.ended") == 1
    assert len(viewer.checker.messages) == 6


async def test_a_fork_that_is_not_to_start_is_a_draft(client, parent):
    made = await fork(client, parent, at_seq=4, start=False, limits={"max_turns": 3})

    assert (made.status, made.next_speaker) == ("draft", None)
    started = await client.post(f"/api/v1/discussions/{made.id}/start")
    assert started.json()["status"] == "running"
    await watch_to_the_end(client, made.id)


async def test_a_rerun_begins_anew_with_those_who_began(client, parent):
    made = await fork(client, parent, at_seq=0)
    viewer = await watch_to_the_end(client, made.id)

    assert made.parent == {"id": parent.id, "seq": 0}
    assert viewer.types[:3] == ["discussion.created", "discussion.forked", "discussion.started"]
    assert [message["turn"] for message in viewer.checker.messages.values()] == [1, 2, 3, 4]


async def test_a_fork_may_have_another_line_up_model_and_topic(client, parent, make_agent, make_model):
    other = make_model("tokens=3")
    newcomer = await make_agent("Newcomer")
    kept = parent.participants[1]

    made = await fork(
        client,
        parent,
        at_seq=await seq_of_turn(client, parent, 2),
        participants=[{"agent_id": newcomer.id}, {"agent_id": kept["agent_id"]}],
        model=other.name,
        topic="And now?",
        limits={"max_turns": 4},
    )
    await watch_to_the_end(client, made.id)

    assert [seat["handle"] for seat in made.participants] == ["newcomer", "two"]
    assert (made.topic, {seat["model"] for seat in made.participants}) == ("And now?", {other.name})
    spoken = await messages(client, made)
    assert [message["handle"] for message in spoken] == ["one", "two", "newcomer", "two"]
    assert [message["content"] for message in spoken[2:]] == [other.reply(0), other.reply(1)]


async def test_a_fork_of_a_fork_compares_with_its_cousins(client, parent):
    first = await fork(client, parent, at_seq=await seq_of_turn(client, parent, 3), limits={"max_turns": 5})
    second = await fork(client, parent, at_seq=await seq_of_turn(client, parent, 2), limits={"max_turns": 3})
    for one in (first, second):
        await watch_to_the_end(client, one.id)

    diff = (await client.get(f"/api/v1/discussions/{first.id}/diff", params={"with": second.id})).json()

    assert diff["common"] == {"seq": await seq_of_turn(client, parent, 2), "turn": 2}
    turns = [tuple(one and one["turn"] for one in (pair["left"], pair["right"])) for pair in diff["items"]]
    assert turns == [(3, 3), (4, None), (5, None)]
    assert [pair["same"] for pair in diff["items"]][1:] == [False, False]


async def test_two_compare_alike_from_either_side_after_turns_without_a_message(
    client, owner, make_agent, make_model, make_discussion
):
    """One was whispered, which the fork does not hold, and one was passed on."""
    mute = await make_agent("Mute", model=make_model("empty").name)
    people = [{"user_id": owner.id}, *seats(mute)]
    limits = {"max_turns": 9}
    made = await make_discussion(participants=people, limits=limits, turn_policy={"type": "manual"})
    address = f"/api/v1/discussions/{made.id}"
    own, other = (seat["id"] for seat in made.participants)
    await client.post(f"{address}/floor", json={"participant": own})
    whispered = await client.post(f"{address}/messages", json={"content": "Between us.", "visible_to": [other]})
    assert whispered.json()["message"]["turn"] == 1

    async def is_over(turn):
        return (await client.get(address)).json()["turn"] == turn

    await client.post(f"{address}/floor", json={"participant": other})
    await eventually(lambda: is_over(2), 10, "a turn passed on")
    forked = await fork(client, made, start=False)
    assert forked.turn == 2

    for at_turn, upto in ((1, whispered.json()["message"]["seq"]), (2, None)):
        one = forked if upto is None else await fork(client, made, start=False, at_seq=upto)
        for left, right in ((made, one), (one, made)):
            diff = (await client.get(f"/api/v1/discussions/{left.id}/diff", params={"with": right.id})).json()
            assert diff["common"]["turn"] == at_turn


async def test_a_discussion_compared_with_itself_has_nothing_of_its_own(client, parent):
    diff = (await client.get(f"/api/v1/discussions/{parent.id}/diff", params={"with": parent.id})).json()

    assert (diff["common"]["turn"], diff["items"]) == (4, [])


async def test_strangers_to_each_other_differ_from_the_beginning_page_by_page(client, parent, make_discussion):
    other = await make_discussion()
    await watch_to_the_end(client, other.id)
    address = f"/api/v1/discussions/{parent.id}/diff"

    whole = (await client.get(address, params={"with": other.id})).json()
    first = (await client.get(address, params={"with": other.id, "limit": 3})).json()
    rest = (await client.get(address, params={"with": other.id, "cursor": first["next_cursor"]})).json()

    assert whole["common"] == {"seq": 0, "turn": 0}
    assert first["items"] + rest["items"] == whole["items"]
    assert [bool(pair["right"]) for pair in whole["items"]] == [True, True, False, False]


async def test_bad_forks_are_refused_and_make_nothing(client, parent, stranger, make_agent, make_discussion):
    address = f"/api/v1/discussions/{parent.id}/fork"
    theirs = await make_agent("Theirs", by=stranger)

    problem(await client.post(address, json={"at_seq": 10_000}), 422, "fork_beyond_end")
    problem(await client.post(address, json={"at_seq": -1}), 422, "validation_failed")
    problem(await client.post(address, json={"participants": [{"agent_id": theirs.id}]}), 404, "agent_not_found")
    problem(await client.post(address, json={"model": "nobody/knows"}), 422, "unknown_model")
    problem(await client.post(address, json={"unknown": 1}), 422, "validation_failed")
    problem(await stranger.http.post(address, json={}), 404, "not_found")
    hidden = await make_discussion(by=stranger, agents=[theirs])
    problem(await client.get(f"/api/v1/discussions/{parent.id}/diff", params={"with": hidden.id}), 404, "not_found")
    listed = (await client.get("/api/v1/discussions")).json()["items"]
    assert [one["id"] for one in listed] == [parent.id]


async def test_a_deleted_parent_leaves_its_forks_whole(client, parent):
    made = await fork(client, parent, at_seq=4, start=False)

    assert (await client.delete(f"/api/v1/discussions/{parent.id}")).status_code == 204

    left = await read(client, made)
    assert left["parent"] == {"id": None, "seq": 4}
    assert len(await log_of(client, made)) == made.last_seq


async def test_a_snapshot_and_the_events_after_it_are_a_fresh_read(
    client, make_agent, make_discussion, make_model, owner
):
    """Through every kind of event, from wherever the snapshot is taken."""
    mute, good = await make_agent("Mute", model=make_model("empty").name), await make_agent("Good")
    made = await make_discussion(
        participants=[{"user_id": owner.id}, *seats(mute, good)],
        limits={"max_turns": 6},
        waiting={"human_seconds": 900},
    )
    address = f"/api/v1/discussions/{made.id}"
    snapshots = [made]

    async def step(response):
        assert response.status_code < 300, response.text
        snapshots.append((await client.get(address)).json())

    async def at_turn(turn):
        state = (await client.get(address)).json()
        snapshots.append(state)
        return state["turn"] >= turn and state["status"] == "waiting"

    await step(await client.post(f"{address}/pause"))
    await step(await client.patch(address, json={"title": "Changed", "topic": "Another", "limits": {"max_turns": 5}}))
    await step(await client.post(f"{address}/participants", json={"agent_id": (await make_agent("Late")).id}))
    await step(await client.post(f"{address}/resume"))
    await step(await client.post(f"{address}/messages", json={"content": "I begin."}))
    await eventually(lambda: at_turn(4), 10, "the second round")
    await step(await client.delete(f"{address}/participants/{made.participants[2]['id']}"))
    await step(await client.post(f"{address}/messages", json={"content": "I end."}))
    await watch_to_the_end(client, made.id)

    fresh = (await client.get(address)).json()
    events = await log_of(client, made)
    for taken in snapshots:
        state = taken
        for event in events[taken["last_seq"] :]:
            state = snapshot.apply(state, event["seq"], event["type"], event["data"])
        assert {name: state[name] for name in snapshot.FOLDED} == {name: fresh[name] for name in snapshot.FOLDED}
    kinds = {event["type"] for event in events}
    assert kinds >= {
        "discussion.updated",
        "participant.joined",
        "participant.left",
        "turn.passed",
        "discussion.waiting",
    }


async def test_a_draft_can_be_forked_too(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    made = await fork(client, draft)
    viewer = await watch_to_the_end(client, made.id)

    assert made.parent == {"id": draft.id, "seq": 1}
    assert len(viewer.checker.messages) == 2


async def test_a_fork_holds_no_whisper_and_no_reply_to_one(client, make_discussion):
    parent = await make_discussion(status=Status.DRAFT)
    address = f"/api/v1/discussions/{parent.id}/messages"
    to_one = {"content": "Between us: the secret.", "visible_to": [parent.participants[0]["id"]]}
    whisper = (await client.post(address, json=to_one)).json()["message"]
    await client.post(address, json={"content": "As I said.", "reply_to": whisper["id"]})

    made = await fork(client, parent, start=False)

    copied = await log_of(client, made)
    assert copied[whisper["seq"] - 1]["type"] == "message.withheld"
    assert "secret" not in str(copied)
    assert whisper["id"] not in str(copied)
    [left] = await messages(client, made)
    assert (left["content"], left["reply_to"]) == ("As I said.", None)


async def test_weights_of_participants_and_an_id_that_somebody_said_survive_a_fork(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    weights = {seat["id"]: 1 for seat in draft.participants}
    changed = await client.patch(
        f"/api/v1/discussions/{draft.id}", json={"turn_policy": {"type": "random", "weights": weights}}
    )
    words = draft.participants[0]["id"]
    await client.post(f"/api/v1/discussions/{draft.id}/messages", json={"content": words})

    forked = await fork(client, draft, start=False)

    assert changed.status_code == 200
    assert set(forked.turn_policy["weights"]) <= {seat["id"] for seat in forked.participants}
    [said] = [event for event in await log_of(client, forked) if event["type"] == "message.completed"]
    assert said["data"]["content"] == words


async def test_a_fork_of_a_discussion_renamed_after_its_end_holds_no_end_of_its_own(client, parent):
    await client.patch(f"/api/v1/discussions/{parent.id}", json={"title": "Renamed"})

    made = await fork(client, parent, limits={"max_turns": 6})
    viewer = await watch_to_the_end(client, made.id)

    assert (made.title, viewer.types.count("discussion.ended")) == ("Renamed", 1)
    assert len(viewer.checker.messages) == 6


async def test_a_stand_in_that_a_fork_names_is_given_a_seat_of_its_own(client, owner, make_agent, make_discussion):
    agent, other = await make_agent("Deputy"), await make_agent("Other")
    human = {"user_id": owner.id, "stand_in_agent_id": agent.id}
    made = await make_discussion(status=Status.DRAFT, participants=[human, *seats(other)])

    forked = await fork(client, made, start=False, participants=seats(other, agent))

    assert [(seat["role"], seat["stands_in_for"]) for seat in forked.participants] == [("speaker", None)] * 2


async def test_a_fork_with_somebody_named_twice_is_refused(client, make_agent, make_discussion):
    agent = await make_agent()
    made = await make_discussion(status=Status.DRAFT, agents=[agent])

    response = await client.post(
        f"/api/v1/discussions/{made.id}/fork", json={"start": False, "participants": seats(agent, agent)}
    )

    problem(response, 422, "duplicate_participant")


async def test_new_agents_of_a_fork_never_share_a_handle(client, colleague, make_agent, make_discussion):
    bob = {"user_id": (await colleague("member", "Bob")).id}
    made = await make_discussion(status=Status.DRAFT, participants=[bob, *seats(await make_agent("X"))])
    agents = [await make_agent("First", handle="bob"), await make_agent("Second", handle="bob-2")]

    forked = await fork(client, made, start=False, participants=[bob, *seats(*agents)])

    assert [seat["handle"] for seat in forked.participants] == ["bob", "bob-2", "bob-2-2"]


async def test_a_message_that_is_nothing_but_an_id_is_copied_as_it_was_said(client, make_discussion):
    made = await make_discussion(status=Status.DRAFT)
    seat_id = made.participants[0]["id"]
    await client.post(f"/api/v1/discussions/{made.id}/messages", json={"content": seat_id})

    forked = await fork(client, made, start=False)

    logged = [
        event["data"]["content"] for event in await log_of(client, forked) if event["type"] == "message.completed"
    ]
    assert logged == [message["content"] for message in await messages(client, forked)] == [seat_id]


async def test_a_policy_that_was_changed_begins_anew_in_a_fork(client, make_discussion, make_agent, make_model):
    models = (make_model("tokens=10&delay_ms=20").name, ENDLESS)
    agents = [await make_agent(name, model=model) for name, model in zip(("One", "Two"), models, strict=True)]
    phases = [{"name": name, "rounds": 1, "speakers": ["all"]} for name in ("First", "Second")]
    made = await make_discussion(agents=agents, turn_policy={"type": "scripted", "phases": phases})
    await eventually(lambda: is_at(client, made, 1), 10, "the first turn")
    interrupted = await client.post(f"/api/v1/discussions/{made.id}/interrupt")
    policy = {"type": "scripted", "phases": [{"name": "Only", "rounds": 2, "speakers": ["all"]}]}
    changed = await client.patch(f"/api/v1/discussions/{made.id}", json={"turn_policy": policy})
    assert (interrupted.status_code, changed.status_code) == (200, 200)

    forked = await fork(client, made, limits={"max_turns": 9})

    assert forked.next_speaker["reason"] == "scripted: Only 1/2"
    assert forked.next_speaker["handle"] == "one"


async def is_at(client, discussion, turn):
    return (await read(client, discussion))["turn"] >= turn


@pytest.fixture
async def with_former_member(owner, colleague, make_agent, make_discussion, sql):
    """A draft of a person with a stand-in who is no member of the workspace any more, of the owner and an agent."""
    person, deputy = await colleague("member"), await make_agent("Deputy")
    people = [{"user_id": person.id, "stand_in_agent_id": deputy.id}, {"user_id": owner.id}]
    made = await make_discussion(status=Status.DRAFT, participants=[*people, *seats(await make_agent("Skeptic"))])
    sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, person.id)
    return made


async def test_a_fork_leaves_out_who_is_no_member_any_more_and_their_stand_in(client, with_former_member):
    made = await fork(client, with_former_member, start=False)

    assert [seat["handle"] for seat in made.participants] == ["ada-byron", "skeptic"]
    forked = (await log_of(client, made))[-1]["data"]
    assert [seat["handle"] for seat in forked["participants"]] == ["ada-byron", "skeptic"]


async def test_a_fork_that_names_who_is_no_member_any_more_is_refused(client, with_former_member):
    named = [
        {"user_id": with_former_member.participants[0]["user_id"]},
        {"user_id": with_former_member.participants[1]["user_id"]},
    ]

    response = await client.post(f"/api/v1/discussions/{with_former_member.id}/fork", json={"participants": named})

    problem(response, 404, "user_not_found")


async def test_a_fork_in_which_nobody_would_speak_is_refused(client, owner, colleague, make_discussion, sql):
    person = await colleague("member")
    made = await make_discussion(status=Status.DRAFT, participants=[{"user_id": person.id}])
    sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, person.id)

    problem(await client.post(f"/api/v1/discussions/{made.id}/fork", json={}), 404, "user_not_found")
