"""Whispers: who is shown what is said to some, in prompts, pages, streams and exports."""

import asyncio

import orjson
import pytest

from app.domain.discussion import Status
from tests.factories.discussions import ENDLESS, seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import log_of
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

UNKNOWN = "019a0000-0000-7000-8000-000000000000"
SECRET = "The budget is 40 million"


async def say(client, discussion, content=SECRET, **more):
    return await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": content, **more})


async def whisper(client, discussion, *to, content=SECRET, **more):
    response = await say(client, discussion, content, visible_to=list(to), **more)
    assert response.status_code == 201, response.text
    return response.json()["message"]


async def messages_of(client, discussion, **query):
    response = await client.get(f"/api/v1/discussions/{discussion.id}/messages", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def may_read(client, discussion, text=SECRET):
    """Whether a caller is told `text`; the pages of the log and of the messages in both orders must agree."""
    told = set()
    for part in ("events?limit=200", "messages?limit=200", "messages?limit=200&order=desc"):
        page = await client.get(f"/api/v1/discussions/{discussion.id}/{part}", headers={"Accept": "application/json"})
        assert page.status_code == 200, page.text
        told.add(text in page.text)
    assert len(told) == 1
    for part in (f"/{discussion.id}", ""):
        assert text not in (await client.get(f"/api/v1/discussions{part}")).text
    return told.pop()


async def exports(client, discussion):
    address = f"/api/v1/discussions/{discussion.id}/transcript"
    return "".join([(await client.get(address, params={"format": form})).text for form in ("json", "md", "txt")])


@pytest.fixture
async def member(colleague):
    """Takes part, but does not control what others began."""
    return await colleague("member")


@pytest.fixture
async def table(owner, member, make_agent, make_discussion):
    """A draft with two agents, the owner and a member: skeptic, optimist, ada-byron, charles-babbage."""
    agents = [await make_agent(name) for name in ("Skeptic", "Optimist")]
    people = [{"user_id": owner.id}, {"user_id": member.id}]
    return await make_discussion(status=Status.DRAFT, participants=[*seats(*agents), *people])


def seat(discussion, handle):
    return next(one["id"] for one in discussion["participants"] if one["handle"] == handle)


async def test_a_whisper_names_its_author_and_its_addressees_once(client, table):
    skeptic, ada = seat(table, "skeptic"), seat(table, "ada-byron")

    message = await whisper(client, table, skeptic, skeptic, ada)

    assert message["visible_to"] == [ada, skeptic]
    assert (await log_of(client, table))[-1]["data"] == message


async def test_what_is_said_to_all_names_nobody(client, table):
    assert (await say(client, table, visible_to=None)).json()["message"]["visible_to"] is None


async def test_a_private_note_is_for_its_author_alone(member, table):
    own = seat(table, "charles-babbage")

    assert (await whisper(member.http, table, own))["visible_to"] == [own]


async def test_who_has_no_seat_may_whisper_from_the_one_they_are_given(colleague, table):
    guest = await colleague("member", "Grace Hopper")

    message = await whisper(guest.http, table, seat(table, "skeptic"))

    assert message["visible_to"] == [message["participant_id"], seat(table, "skeptic")]
    assert await may_read(guest.http, table)


@pytest.mark.parametrize(
    ("visible_to", "code"),
    [
        ([], "validation_failed"),
        ([UNKNOWN] * 51, "validation_failed"),
        (["skeptic"], "validation_failed"),
        ("all", "validation_failed"),
        ([UNKNOWN], "unknown_participant"),
    ],
)
async def test_a_whisper_to_nobody_at_the_table_is_refused_and_not_written(
    client, owner, table, rows_of, visible_to, code
):
    before = rows_of(owner)

    problem(await say(client, table, visible_to=visible_to), 422, code)

    assert rows_of(owner) == before


async def test_a_whisper_to_another_tables_seat_is_refused(client, table, make_agent, make_discussion):
    other = await make_discussion(status=Status.DRAFT, agents=[await make_agent("Third")])

    response = await say(client, table, visible_to=[seat(other, "third")])

    problem(response, 422, "unknown_participant")


async def test_a_whisper_to_somebody_who_left_is_refused(client, table, sql):
    sql("UPDATE participants SET left_at = now() WHERE id = %s", seat(table, "optimist"))

    problem(await say(client, table, visible_to=[seat(table, "optimist")]), 422, "unknown_participant")


async def test_who_left_may_still_read_what_they_were_told(client, member, table, sql):
    await whisper(client, table, seat(table, "charles-babbage"))

    sql("UPDATE participants SET left_at = now() WHERE id = %s", seat(table, "charles-babbage"))

    assert await may_read(member.http, table)


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("member", False), ("moderator", True), ("admin", True), ("owner", True)]
)
async def test_only_who_controls_discussions_reads_what_others_whisper(client, colleague, table, role, may):
    person = await colleague(role, "Grace Hopper")
    await whisper(client, table, seat(table, "skeptic"))

    assert await may_read(person.http, table) == may


async def test_whoever_is_addressed_reads_a_whisper_and_others_at_the_table_do_not(client, colleague, member, table):
    other = await colleague("member", "Grace Hopper")
    await say(other.http, table, "Hello")
    await whisper(client, table, seat(table, "charles-babbage"))

    assert await may_read(member.http, table)
    assert not await may_read(other.http, table)


async def test_whoever_opened_a_discussion_does_not_thereby_read_its_whispers(
    colleague, member, make_agent, make_discussion
):
    """A right comes from the role or from being told."""
    agent = await make_agent()
    own = await make_discussion(status=Status.DRAFT, by=member, participants=seats(agent))
    other = await colleague("member", "Grace Hopper")
    await whisper(other.http, own, seat(own, "skeptic"))

    assert not await may_read(member.http, own)


async def test_a_withheld_message_keeps_its_place_in_the_log(client, member, table):
    await say(client, table, "Before")
    message = await whisper(client, table, seat(table, "skeptic"))
    await say(client, table, "After")

    log = await log_of(member.http, table)

    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    [withheld] = [event for event in log if event["type"] == "message.withheld"]
    assert (withheld["seq"], withheld["data"]) == (message["seq"], {})


async def test_pages_of_messages_are_full_and_go_on_where_they_ended(client, member, table):
    for number in range(6):
        await say(client, table, f"public {number}")
        await whisper(client, table, seat(table, "skeptic"))

    for order, wanted in (("asc", range(6)), ("desc", range(5, -1, -1))):
        said, cursor = [], None
        while True:
            query = {"limit": 2, "order": order} | ({"cursor": cursor} if cursor else {})
            page = await messages_of(member.http, table, **query)
            assert len(page["items"]) == 2
            said += [message["content"] for message in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert said == [f"public {number}" for number in wanted]


async def test_no_export_holds_a_whisper_whoever_asks(client, member, table):
    await say(client, table, "To all")
    await whisper(client, table, seat(table, "charles-babbage"))
    await whisper(client, table, seat(table, "ada-byron"))

    for reader in (client, member.http):
        assert await may_read(reader, table)
        exported = await exports(reader, table)
        assert SECRET not in exported
        assert exported.count("To all") == 3


async def test_a_whisper_is_not_found_by_searching(client, member, table):
    await whisper(client, table, seat(table, "skeptic"))

    found = await member.http.get("/api/v1/discussions", params={"q": "40 million"})

    assert found.json()["items"] == []


async def test_nobody_replies_to_what_they_may_not_read(client, colleague, member, table):
    hidden = await whisper(client, table, seat(table, "charles-babbage"))
    other = await colleague("member", "Grace Hopper")

    problem(await say(other.http, table, "Oh?", reply_to=hidden["id"]), 422, "unknown_reply")
    assert (await say(member.http, table, "I see.", reply_to=hidden["id"])).status_code == 201


async def test_a_stream_shows_a_whisper_to_those_it_is_for_and_withholds_it_from_the_others(
    client, colleague, member, table
):
    viewer = await colleague("viewer", "Grace Hopper")
    async with (
        watching(client, table.id) as author,
        watching(member.http, table.id) as addressee,
        watching(viewer.http, table.id) as other,
    ):
        for watcher in (author, addressee, other):
            await watcher.until("discussion.created")
        message = await whisper(client, table, seat(table, "charles-babbage"))
        for watcher in (author, addressee):
            assert (await watcher.until("message.completed")).data == message
        withheld = await other.until("message.withheld")
        await say(client, table, "To all")
        await other.until("message.completed")
        await client.post(f"/api/v1/discussions/{table.id}/stop")
        await other.until_ended()
        await addressee.until_ended()

    assert (withheld.data, withheld.position) == ({}, (message["seq"], 0))
    assert SECRET not in str(other.events)


async def test_a_stream_from_the_log_withholds_what_a_live_one_did(client, colleague, table):
    viewer = await colleague("viewer", "Grace Hopper")
    await whisper(client, table, seat(table, "skeptic"))
    await client.post(f"/api/v1/discussions/{table.id}/stop")

    seen = await watch_to_the_end(viewer.http, table.id)

    assert "message.withheld" in seen.types
    assert SECRET not in str(seen.events)
    pages = [(event["seq"], event["type"], event["data"]) for event in await log_of(viewer.http, table)]
    assert pages == [(event.position[0], event.type, event.data) for event in seen.events]


async def test_a_viewer_comes_back_behind_a_withheld_message(client, colleague, table):
    viewer = await colleague("viewer", "Grace Hopper")
    await whisper(client, table, seat(table, "skeptic"))
    async with watching(viewer.http, table.id) as first:
        await first.until("message.withheld")
    await whisper(client, table, seat(table, "skeptic"))
    await client.post(f"/api/v1/discussions/{table.id}/stop")

    async with watching(viewer.http, table.id, after=first.events[-1].id, knowing=first.events) as again:
        await again.until_ended()

    assert again.types == ["message.withheld", "discussion.ended"]


async def test_who_takes_a_seat_while_watching_is_shown_their_own_whispers(client, colleague, table):
    guest = await colleague("member", "Grace Hopper")
    async with watching(guest.http, table.id) as watcher:
        await watcher.until("discussion.created")
        await whisper(client, table, seat(table, "skeptic"))
        await watcher.until("message.withheld")
        note = await whisper(guest.http, table, seat(table, "skeptic"), content="Mine")
        assert (await watcher.until("message.completed")).data == note
        await whisper(client, table, note["participant_id"], content="To you")
        told = await watcher.until(lambda event: event.data.get("content") == "To you")
        await client.post(f"/api/v1/discussions/{table.id}/stop")
        await watcher.until_ended()

    assert told.type == "message.completed"
    assert SECRET not in str(watcher.events)


async def test_who_may_control_no_more_is_shown_no_more_whispers_while_watching(client, owner, colleague, table, sql):
    moderator = await colleague("moderator", "Grace Hopper")
    async with watching(moderator.http, table.id) as watcher:
        await whisper(client, table, seat(table, "skeptic"))
        await watcher.until("message.completed")
        note = await whisper(moderator.http, table, seat(table, "skeptic"), content="Mine")
        set_role(sql, owner, moderator, "viewer")

        async def is_withheld():
            await whisper(client, table, seat(table, "skeptic"))
            return watcher.of_type("message.withheld")

        await eventually(is_withheld, 5, "the first whisper that is withheld")
        mine = await whisper(client, table, note["participant_id"], content="To you")
        await watcher.until(lambda event: event.data.get("content") == "To you")
        await client.post(f"/api/v1/discussions/{table.id}/stop")
        await watcher.until_ended()

    first = watcher.types.index("message.withheld")
    assert [event.data for event in watcher.events[first:] if event.type == "message.completed"] == [mine]


async def test_who_may_control_from_now_on_is_shown_whispers_while_watching(client, owner, colleague, table, sql):
    viewer = await colleague("viewer", "Grace Hopper")
    async with watching(viewer.http, table.id) as watcher:
        await whisper(client, table, seat(table, "skeptic"))
        await watcher.until("message.withheld")
        set_role(sql, owner, viewer, "moderator")

        async def is_shown():
            await whisper(client, table, seat(table, "skeptic"))
            return watcher.of_type("message.completed")

        await eventually(is_shown, 5, "the first whisper that is shown")


def set_role(sql, owner, person, role):
    change = "UPDATE memberships SET role = %s WHERE workspace_id = %s AND user_id = %s"
    sql(change, role, owner.workspace_id, person.id)


async def test_a_whisper_while_an_agent_speaks_leaves_the_stream_whole(client, colleague, make_agent, make_discussion):
    viewer = await colleague("viewer", "Grace Hopper")
    agent = await make_agent(model="openai/fake?tokens=30&delay_ms=20")
    discussion = await make_discussion(status=Status.DRAFT, agents=[agent])
    async with watching(viewer.http, discussion.id) as watcher:
        await watcher.until("discussion.created")
        await client.post(f"/api/v1/discussions/{discussion.id}/start")
        await watcher.until("message.delta")
        await whisper(client, discussion, seat(discussion, "skeptic"))
        await watcher.until("message.withheld", seconds=1)
        await watcher.until_ended()

    types = [kind for kind in watcher.types if kind in ("message.withheld", "message.completed")]
    assert types == ["message.withheld", "message.completed", "message.completed"]
    assert len(watcher.checker.shown_whole) == 2
    assert SECRET not in str(watcher.events)


async def test_a_whispered_turn_is_a_turn_and_its_text_stays_hidden(
    client, owner, colleague, make_agent, make_model, make_discussion
):
    """A snapshot and the events after it still give the discussion's state: the turn is told, nothing else."""
    viewer = await colleague("viewer", "Grace Hopper")
    model = make_model()
    agent = await make_agent(model=model.name)
    discussion = await make_discussion(participants=[{"user_id": owner.id}, *seats(agent)], limits={"max_turns": 2})
    async with watching(viewer.http, discussion.id) as watcher:
        await watcher.until("discussion.waiting")
        posted = (await say(client, discussion, visible_to=[seat(discussion, "ada-byron")])).json()
        await watcher.until_ended()

    assert (posted["message"]["turn"], posted["discussion"]["turn"]) == (1, 1)
    assert watcher.types[2:6] == ["discussion.waiting", "message.withheld", "discussion.resumed", "turn.started"]
    assert watcher.of_type("message.withheld")[0].data == {"turn": 1}
    assert watcher.of_type("turn.started")[0].data["turn"] == 2
    assert len(watcher.checker.shown_whole) == 1
    assert SECRET not in str(watcher.events)
    assert SECRET not in str(model.prompts)
    # Later viewers go on from the middle: what the whisper closed is closed for them too.
    middle = next(place for place, event in enumerate(watcher.events) if event.type == "message.withheld")
    known = watcher.events[: middle + 1]
    async with watching(viewer.http, discussion.id, after=known[-1].id, knowing=known) as later:
        await later.until_ended()
    assert later.types[-1] == "discussion.ended"


async def test_a_phrase_that_is_only_whispered_ends_nothing(client, owner, make_agent, make_discussion):
    discussion = await make_discussion(
        participants=[{"user_id": owner.id}, *seats(await make_agent(model=ENDLESS))],
        stop_when=[{"type": "phrase", "phrase": "we agree"}],
    )

    posted = await say(client, discussion, "Psst, we agree.", visible_to=[seat(discussion, "skeptic")])

    assert posted.json()["discussion"]["status"] == "running"
    await client.post(f"/api/v1/discussions/{discussion.id}/stop")


@pytest.fixture
async def two_models(owner, make_agent, make_model, make_discussion):
    """A discussion in which the owner speaks first and every third turn; with the models of its two agents."""
    models = {name: make_model("tokens=12&delay_ms=5") for name in ("Skeptic", "Optimist")}
    agents = [await make_agent(name, model=model.name) for name, model in models.items()]
    table = [{"user_id": owner.id}, *seats(*agents)]
    discussion = await make_discussion(participants=table, limits={"max_turns": 6})
    return discussion, models["Skeptic"], models["Optimist"]


async def test_an_agents_prompts_never_hold_a_whisper_to_another(client, two_models):
    """The driver loads the table anew from the rows after each turn of the human's: so would another worker."""
    discussion, skeptic, optimist = two_models
    async with watching(client, discussion.id) as viewer:
        await whisper(client, discussion, seat(discussion, "skeptic"))
        await viewer.until(lambda event: event.type == "discussion.waiting" and event.position[0] > 5)
        await say(client, discussion, "Go on.")
        await viewer.until_ended()

    assert len(skeptic.prompts) == len(optimist.prompts) == 2
    for prompt in skeptic.prompts:
        assert f"[@ada-byron, privately] {SECRET}" in str(prompt)
    assert SECRET not in str(optimist.prompts)
    assert "Go on." in str(optimist.prompts[1])


async def test_a_whisper_that_a_driver_hears_while_an_agent_speaks_reaches_its_addressee_alone(
    client, make_agent, make_model, make_discussion
):
    models = [make_model("tokens=25&delay_ms=20") for _ in range(2)]
    names = ("Skeptic", "Optimist")
    agents = [await make_agent(name, model=model.name) for name, model in zip(names, models, strict=True)]
    discussion = await make_discussion(agents=agents, limits={"max_turns": 4})
    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        await whisper(client, discussion, seat(discussion, "optimist"))
        await viewer.until_ended()

    first, second = (str(model.prompts) for model in models)
    assert SECRET not in first
    assert second.count(f"[@ada-byron, privately] {SECRET}") == 2


async def test_what_an_agent_says_is_said_to_all(client, two_models):
    discussion, *_ = two_models
    async with watching(client, discussion.id) as viewer:
        await whisper(client, discussion, seat(discussion, "skeptic"))
        await viewer.until(lambda event: event.type == "discussion.waiting" and event.position[0] > 5)
        await say(client, discussion, "Go on.")
        await viewer.until_ended()

    agents = [m for m in viewer.checker.messages.values() if m["kind"] == "llm"]
    assert [m["visible_to"] for m in agents] == [None] * 4


async def test_many_whispers_at_once_reach_only_whom_they_are_for(client, colleague, member, table):
    """Live, from several authors, while the log grows: nobody misses an event, nobody sees one too many."""
    other = await colleague("member", "Grace Hopper")
    await say(other.http, table, "Here I am.")
    async with watching(member.http, table.id) as one, watching(other.http, table.id) as two:
        await one.until("message.completed")
        await two.until("message.completed")
        to_one = seat(table, "charles-babbage")
        await asyncio.gather(
            *(whisper(client, table, to_one, content=f"for one {n}") for n in range(8)),
            *(whisper(other.http, table, seat(table, "ada-byron"), content=f"for ada {n}") for n in range(8)),
        )
        await client.post(f"/api/v1/discussions/{table.id}/stop")
        await one.until_ended()
        await two.until_ended()

    def heard(viewer):
        return sorted(m["content"] for m in viewer.checker.messages.values())

    assert heard(one) == sorted(["Here I am.", *(f"for one {n}" for n in range(8))])
    assert heard(two) == sorted(["Here I am.", *(f"for ada {n}" for n in range(8))])


async def test_the_rows_of_a_whisper_name_its_readers(client, table, sql):
    """What another replica, a later worker or a fork goes by."""
    message = await whisper(client, table, seat(table, "skeptic"))

    [(of_message,)] = sql("SELECT visible_to FROM messages WHERE id = %s", message["id"])
    [(of_event, payload)] = sql(
        "SELECT visible_to, payload::text FROM discussion_events WHERE discussion_id = %s AND seq = %s",
        *(table.id, message["seq"]),
    )
    assert list(map(str, of_message)) == list(map(str, of_event)) == message["visible_to"]
    assert orjson.loads(payload) == message
