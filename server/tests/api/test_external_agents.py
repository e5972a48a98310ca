"""External agents: told by a signed webhook that they have the floor, and heard once, with the turn's token."""

import re
from pathlib import Path

import pytest

from app.domain.discussion import Status
from tests.factories.discussions import seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.receivers import answer, is_signed
from tests.fixtures.scripted_server import Reply
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

GUIDE = Path(__file__).parents[3] / "docs" / "external-agents.md"
FORGED = "arena_tt_" + "A" * 134


@pytest.fixture
async def outside(make_external):
    return await make_external()


@pytest.fixture
def open_floor(make_discussion, make_agent, outside):
    """A discussion in which the external agent has the floor first."""

    async def make(**changes):
        return await make_discussion(agents=[outside, await make_agent()], **changes)

    return make


async def test_a_signed_webhook_tells_it_that_it_has_the_floor(open_floor, outside, receiver):
    discussion = await open_floor(instructions="Be brief.")

    call = await receiver.called()

    assert is_signed(call, outside.webhook_secret)
    assert call.headers["content-type"] == "application/json"
    assert len(call.headers["x-arena-delivery"]) == 36
    body = call.json
    assert body.pop("turn_token").startswith("arena_tt_")
    assert body == {
        "discussion_id": discussion.id,
        "turn": 1,
        "participant_id": discussion.participants[0]["id"],
        "deadline": discussion.deadline,
        "topic": "Should our team go remote?",
        "instructions": "Be brief.",
        "instruction": None,
        "is_last": False,
        "messages": [],
    }


async def test_the_receiver_of_the_guide_knows_a_signature_from_a_forgery(open_floor, outside, receiver):
    [snippet] = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    guide: dict = {}
    exec(compile(snippet, GUIDE.name, "exec"), guide)
    await open_floor()
    call = await receiver.called()
    signature, secret = call.headers["x-arena-signature"], outside.webhook_secret

    assert guide["is_from_arena"](secret, signature, call.body)
    for forged in (
        (secret, signature, call.body + b" "),
        (secret[:-1], signature, call.body),
        (secret, signature.replace("v1=", "v1=0"), call.body),
        (secret, signature.replace("t=", "t=1"), call.body),
        (secret, "", call.body),
    ):
        assert not guide["is_from_arena"](*forged)


async def test_the_token_alone_takes_the_turn_and_the_discussion_goes_on(client, anonymous, open_floor, receiver):
    discussion = await open_floor()

    posted = await answer(anonymous, discussion.id, await receiver.token())
    viewer = await watch_to_the_end(client, discussion.id)

    message = posted.json()["message"]
    assert (posted.status_code, message["kind"], message["turn"], message["handle"]) == (201, "external", 1, "outside")
    assert [one["handle"] for one in viewer.checker.messages.values()] == ["outside", "skeptic"]
    assert viewer.types[2:5] == ["discussion.waiting", "message.completed", "discussion.resumed"]
    assert viewer.events[-1].data["end_reason"] == "max_turns"


async def test_a_member_may_post_it_with_the_token(client, open_floor, receiver):
    discussion = await open_floor()

    posted = await answer(client, discussion.id, await receiver.token())

    assert posted.json()["message"]["participant_id"] == discussion.participants[0]["id"]


async def test_it_is_told_by_the_driver_too_and_reads_what_was_said(
    client, anonymous, make_agent, make_discussion, outside, receiver
):
    discussion = await make_discussion(agents=[await make_agent(), outside], limits={"max_turns": 4})

    for turn in (2, 4):
        call = await receiver.called()
        said = (await client.get(f"/api/v1/discussions/{discussion.id}/messages")).json()["items"]
        assert (call.json["turn"], call.json["messages"]) == (turn, [{**one, "usage": None} for one in said])
        assert all(one["usage"] for one in said if one["kind"] == "llm")
        assert (await answer(anonymous, discussion.id, call.json["turn_token"])).status_code == 201

    assert (await client.get(f"/api/v1/discussions/{discussion.id}")).json()["end_reason"] == "max_turns"
    assert len({call.headers["x-arena-delivery"] for call in receiver.calls}) == 2


async def test_a_token_is_good_once(client, anonymous, open_floor, receiver):
    discussion = await open_floor()
    token = await receiver.token()
    await answer(anonymous, discussion.id, token)

    problem(await answer(anonymous, discussion.id, token), 409, "turn_token_used")
    await watch_to_the_end(client, discussion.id)
    problem(await answer(anonymous, discussion.id, token), 409, "turn_token_used")


@pytest.mark.parametrize("with_login", [False, True])
async def test_a_forged_token_is_refused_and_nothing_written(
    client, anonymous, owner, open_floor, receiver, rows_of, with_login
):
    discussion = await open_floor()
    token = await receiver.token()
    before = rows_of(owner)

    for forged in (FORGED, token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token + "!", "x", token[9:]):
        response = await answer(client if with_login else anonymous, discussion.id, forged)
        problem(response, 403, "turn_token_invalid")
    assert rows_of(owner) == before


@pytest.mark.parametrize("with_login", [False, True])
async def test_a_token_of_another_discussion_is_refused(client, anonymous, open_floor, receiver, with_login):
    one, other = [await open_floor() for _ in range(2)]
    tokens = {call.json["discussion_id"]: call.json["turn_token"] for call in [await receiver.called() for _ in "12"]}

    response = await answer(client if with_login else anonymous, other.id, tokens[one.id])

    problem(response, 403, "turn_token_invalid")


async def test_a_stranger_finds_no_discussion_even_with_its_token(stranger, open_floor, receiver):
    discussion = await open_floor()

    problem(await answer(stranger.http, discussion.id, await receiver.token()), 404, "not_found")


async def test_a_token_of_another_workspace_opens_nothing(make_discussion, open_floor, receiver, stranger, anonymous):
    foreign = await make_discussion(by=stranger, status=Status.DRAFT)
    await open_floor()
    token = await receiver.token()

    problem(await answer(stranger.http, foreign.id, token), 403, "turn_token_invalid")
    problem(await answer(anonymous, foreign.id, token), 403, "turn_token_invalid")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("deadline_at = now()", 409, "turn_token_expired"),
        ("floor_id = gen_random_uuid()", 409, "turn_token_stale"),
        ("status = 'paused'", 409, "discussion_paused"),
    ],
)
async def test_a_token_whose_floor_is_gone_is_refused_with_its_reason(
    anonymous, open_floor, receiver, sql, change, status, code
):
    discussion = await open_floor()
    token = await receiver.token()
    sql(f"UPDATE discussions SET {change} WHERE id = %s", discussion.id)

    problem(await answer(anonymous, discussion.id, token), status, code)


async def test_a_token_of_a_turn_that_was_passed_on_has_expired(client, anonymous, open_floor, receiver, sql):
    discussion = await open_floor(limits={"max_turns": 3})
    token = await receiver.token()
    sql("UPDATE discussions SET deadline_at = now() WHERE id = %s", discussion.id)

    async with watching(client, discussion.id) as viewer:
        passed = await viewer.until("turn.passed")
        problem(await answer(anonymous, discussion.id, token), 409, "turn_token_expired")

    assert (passed.data["turn"], passed.data["reason"]) == (1, "deadline")


async def test_after_a_stop_the_discussion_has_ended(client, anonymous, open_floor, receiver):
    discussion = await open_floor()
    token = await receiver.token()
    await client.post(f"/api/v1/discussions/{discussion.id}/stop")

    problem(await answer(anonymous, discussion.id, token), 409, "discussion_ended")


async def test_a_token_is_for_its_own_seat_only(anonymous, open_floor, receiver):
    discussion = await open_floor()
    token = await receiver.token()

    response = await answer(anonymous, discussion.id, token, participant_id=discussion.participants[1]["id"])

    problem(response, 403, "not_your_seat")
    own = discussion.participants[0]["id"]
    assert (await answer(anonymous, discussion.id, token, participant_id=own)).status_code == 201


async def test_without_a_token_nobody_speaks_from_its_seat(client, owner, open_floor, rows_of):
    discussion = await open_floor()
    before = rows_of(owner)

    body = {"content": "As if.", "participant_id": discussion.participants[0]["id"]}
    response = await client.post(f"/api/v1/discussions/{discussion.id}/messages", json=body)

    problem(response, 403, "not_your_seat")
    assert rows_of(owner) == before


async def test_a_message_beside_its_turn_does_not_take_its_floor(client, anonymous, open_floor, receiver):
    discussion = await open_floor()
    token = await receiver.token()

    body = {"content": "While we wait …"}
    posted = (await client.post(f"/api/v1/discussions/{discussion.id}/messages", json=body)).json()

    assert (posted["message"]["turn"], posted["discussion"]["status"]) == (None, "waiting")
    assert (await answer(anonymous, discussion.id, token)).status_code == 201


@pytest.mark.parametrize("body", [{"content": "Hi"}, {"content": "Hi", "turn_token": None}, [], "x", {}])
async def test_without_either_token_nothing_is_said(anonymous, open_floor, body):
    discussion = await open_floor()

    problem(await anonymous.post(f"/api/v1/discussions/{discussion.id}/messages", json=body), 401, "unauthenticated")


async def test_a_body_that_is_no_json_is_no_token(anonymous, open_floor):
    discussion = await open_floor()
    headers = {"Content-Type": "text/plain"}

    address = f"/api/v1/discussions/{discussion.id}/messages"
    for body in (b"hello", b"\xff"):
        problem(await anonymous.post(address, content=body, headers=headers), 401, "unauthenticated")
    # What would take long to look through is refused unread, whatever it is said to be.
    problem(await anonymous.post(address, content=b"[" * 100_000, headers=headers), 422, "json_too_complex")


async def test_a_turn_token_opens_nothing_else(anonymous, open_floor, receiver):
    discussion = await open_floor()
    token = await receiver.token()
    address = f"/api/v1/discussions/{discussion.id}"

    problem(await anonymous.get(address, params={"turn_token": token}), 401, "unauthenticated")
    problem(await anonymous.get(address, headers={"Authorization": f"Bearer {token}"}), 401, "invalid_token")
    problem(await anonymous.post(f"{address}/stop", json={"turn_token": token}), 401, "unauthenticated")
    # A wrong login is not overlooked for the sake of a token beside it.
    wrong = await anonymous.post(
        f"{address}/messages", json={"content": "Hi", "turn_token": token}, headers={"Authorization": "Bearer x"}
    )
    problem(wrong, 401, "invalid_token")


@pytest.mark.parametrize(
    "reply", [Reply(status=410), Reply(status=302, headers={"Location": "/api/v1/elsewhere"}), Reply(status=400)]
)
async def test_an_agent_that_refuses_is_passed_over_at_once_and_visibly(client, open_floor, receiver, reply):
    receiver.answers(reply)

    viewer = await watch_to_the_end(client, (await open_floor()).id)

    [passed] = viewer.of_type("turn.passed")
    assert (passed.data["turn"], passed.data["reason"]) == (1, "unreachable")
    assert [message["turn"] for message in viewer.checker.messages.values()] == [2]
    assert len(receiver.server.asked) == 1


async def test_an_agent_whose_address_is_private_is_passed_over(client, sql, outside, open_floor):
    """Its name led to a public address when the agent was made; here the row is changed instead of the name."""
    private = "jsonb_set(config, '{endpoint_url}', '\"http://10.0.0.1/\"')"
    sql(f"UPDATE agent_versions SET config = {private} WHERE agent_id = %s", outside.id)

    viewer = await watch_to_the_end(client, (await open_floor()).id)

    assert [event.data["reason"] for event in viewer.of_type("turn.passed")] == ["unreachable"]


@pytest.mark.parametrize("first", [Reply(status=503), Reply(status=429), Reply(status=500), Reply(status=408)])
async def test_a_failure_that_may_pass_is_followed_by_another_try(anonymous, open_floor, outside, receiver, first):
    receiver.answers(first, Reply())
    discussion = await open_floor()

    one, two = await receiver.called(), await receiver.called()

    assert one.headers["x-arena-delivery"] == two.headers["x-arena-delivery"]
    assert is_signed(two, outside.webhook_secret)
    assert (await answer(anonymous, discussion.id, two.json["turn_token"])).status_code == 201


async def test_no_further_try_is_made_once_the_agent_has_answered(client, anonymous, open_floor, receiver, sql):
    receiver.answers(Reply(status=503))
    discussion = await open_floor(limits={"max_turns": 1})
    await answer(anonymous, discussion.id, await receiver.token())
    await watch_to_the_end(client, discussion.id)

    jobs = "SELECT 1 FROM procrastinate_jobs WHERE args ->> 'discussion_id' = %s"
    await eventually(lambda: not sql(jobs, discussion.id), 10, "an end of the tries")

    assert len(receiver.calls) == 1


async def test_the_webhook_holds_no_whisper_to_somebody_else(
    client, make_discussion, make_agent, outside, receiver, sql
):
    draft = await make_discussion(status=Status.DRAFT, agents=[outside, await make_agent()])
    own, other = (seat["id"] for seat in draft.participants)
    for content in ("to all", "to the other", "to it"):
        await client.post(f"/api/v1/discussions/{draft.id}/messages", json={"content": content})
    for content, seat in (("to the other", other), ("to it", own)):
        whisper = "UPDATE messages SET visible_to = ARRAY[%s]::uuid[] WHERE discussion_id = %s AND content = %s"
        sql(whisper, seat, draft.id, content)
    await client.post(f"/api/v1/discussions/{draft.id}/start")

    call = await receiver.called()

    assert [message["content"] for message in call.json["messages"]] == ["to all", "to it"]
    assert b"to the other" not in call.body


def phase(name, speakers, **changes):
    return {"name": name, "speakers": speakers, "rounds": 1, **changes}


@pytest.fixture
async def scripted(make_agent, make_discussion, outside):
    """The external agent speaks in turn 2 of an open phase, 4 of a blind and 6 of an anonymous one."""
    speakers = ["skeptic", "outside"]
    phases = [
        phase("open", speakers),
        phase("alone", speakers, blind=True, instruction="Judge by yourself."),
        phase("review", speakers, anonymous=True, instruction="Review the others."),
    ]
    return await make_discussion(
        agents=[await make_agent(), outside],
        turn_policy={"type": "scripted", "phases": phases},
        limits={"max_turns": 6},
    )


async def test_the_webhook_tells_what_the_script_tells_the_speaker(anonymous, scripted, receiver):
    told = []
    for _turn in (2, 4, 6):
        call = await receiver.called()
        told.append((call.json["turn"], call.json["instruction"], call.json["is_last"]))
        await answer(anonymous, scripted.id, call.json["turn_token"])

    assert told == [(2, None, False), (4, "Judge by yourself.", False), (6, "Review the others.", True)]


async def test_the_webhook_of_a_blind_phase_holds_none_of_its_words_by_others(client, anonymous, scripted, receiver):
    await answer(anonymous, scripted.id, await receiver.token())

    call = await receiver.called()

    said = (await client.get(f"/api/v1/discussions/{scripted.id}/messages")).json()["items"]
    assert [message["turn"] for message in said] == [1, 2, 3]
    assert [message["turn"] for message in call.json["messages"]] == [1, 2]
    assert said[2]["content"].encode() not in call.body


async def test_the_webhook_of_an_anonymous_phase_names_nobody_else(client, anonymous, scripted, receiver):
    own, other = (
        next(seat for seat in scripted.participants if seat["handle"] == who) for who in ("outside", "skeptic")
    )
    address = f"/api/v1/discussions/{scripted.id}/messages"
    for content in ("@skeptic is wrong.", "As @skeptic says."):
        await answer(anonymous, scripted.id, await receiver.token(), content)
        aside = {"content": f"{content} @outside?", "visible_to": [own["id"], other["id"]]}
        guest = (await client.post(address, json=aside)).json()["message"]

    call = await receiver.called()

    messages = call.json["messages"]
    spoken = [(message["handle"], message["name"], message["kind"]) for message in messages if message["turn"]]
    a, me = ("participant-a", "participant-a", None), ("outside", "Outside", "external")
    assert spoken == [a, me, a, me, a]
    asides = [message for message in messages if not message["turn"]]
    assert [(message["handle"], message["content"]) for message in asides] == [
        ("participant-c", "@participant-a is wrong. @outside?"),
        ("participant-c", "As @participant-a says. @outside?"),
    ]
    assert messages[1]["content"] == "@skeptic is wrong."
    assert {(message["participant_id"], tuple(message["visible_to"])) for message in asides} == {(None, (own["id"],))}
    for secret in (other["id"], guest["participant_id"], guest["handle"], guest["name"], '"human"', '"llm"'):
        assert secret.encode() not in call.body


async def test_the_webhook_is_bounded(client, make_discussion, outside, receiver):
    draft = await make_discussion(status=Status.DRAFT, participants=seats(outside))
    for number in range(5):
        body = {"content": f"{number} " + "x" * 60_000}
        await client.post(f"/api/v1/discussions/{draft.id}/messages", json=body)
    await client.post(f"/api/v1/discussions/{draft.id}/start")

    call = await receiver.called()

    assert [message["content"][0] for message in call.json["messages"]] == ["2", "3", "4"]


async def test_the_secret_is_shown_once_and_is_each_agents_own(client, make_external, make_agent):
    one, other = await make_external("One"), await make_external("Other")
    inside = await make_agent()

    assert one.webhook_secret.startswith("arena_whsec_")
    assert one.webhook_secret != other.webhook_secret
    assert inside.webhook_secret is None
    address = f"/api/v1/agents/{one.id}"
    later = [
        (await client.get(address)).json(),
        (await client.patch(address, json={"name": "Uno"})).json(),
        (await client.get(f"{address}/versions/1")).json(),
        *(await client.get("/api/v1/agents")).json()["items"],
    ]
    assert {agent["webhook_secret"] for agent in later} == {None}


FORBIDDEN = [
    *("http://localhost/", "http://agent.localhost:8080/", "http://10.0.0.1/", "http://169.254.169.254/latest/"),
    *("http://[::1]/", "http://[fd00:ec2::254]/", "http://[::ffff:127.0.0.1]/", "http://0x7f.2/", "http://2130706434/"),
    *("https://user:secret@agent.example/", "http://127.0.0.2/", "http://[fe80::1]/", "http://100.64.0.1/"),
]


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_an_address_in_a_private_network_is_refused(client, owner, make_external, rows_of, url):
    agent = await make_external()
    before = rows_of(owner)

    body = {"name": "Spy", "kind": "external", "endpoint_url": url}
    told = problem(await client.post("/api/v1/agents", json=body), 422, "forbidden_address")
    assert told["errors"][0]["loc"] == ["body", "endpoint_url"]
    problem(await client.patch(f"/api/v1/agents/{agent.id}", json={"endpoint_url": url}), 422, "forbidden_address")
    assert rows_of(owner) == before


@pytest.mark.parametrize("rest", ["x" * 2_034, "é" * 400])
async def test_an_address_is_no_longer_than_2048_characters(client, make_external, rest):
    base = "http://127.0.0.1/"  # 17 characters
    agent = await make_external(endpoint_url=base + "x" * 2_031)
    assert len(agent.endpoint_url) == 2_048

    body = {"name": "Long", "kind": "external", "endpoint_url": base + rest}
    problem(await client.post("/api/v1/agents", json=body), 422, "validation_failed")
    changed = await client.patch(f"/api/v1/agents/{agent.id}", json={"endpoint_url": base + rest})
    problem(changed, 422, "validation_failed")


async def test_a_name_that_does_not_resolve_now_is_accepted(make_external):
    agent = await make_external(endpoint_url="https://agent.example/hook")

    assert agent.endpoint_url == "https://agent.example/hook"
