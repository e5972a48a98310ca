"""Many discussions spend one budget at once, on two workers: it is never exceeded, and nothing stays set aside."""

import asyncio

import pytest

from app.services.turns import reservations
from bench.fake_model import FakeModelServer
from tests.fixtures.arena import working
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.models import priced
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

DISCUSSIONS = 16
BUDGETS = {
    "user_tokens_per_day": 20_000,
    "workspace_tokens_per_day": 20_000,
    "user_usd_per_day": 0.1,
    "workspace_usd_per_day": 0.1,
}


@pytest.fixture
def slow_priced_models(keep):
    """Settings with which models have prices, but take so long that all discussions begin within the first turns."""
    return priced(keep(FakeModelServer(default="first_ms=500")))


@pytest.fixture
def place_with(fresh_database, make_arena, slow_priced_models):
    """An installation with that budget, whose model has a price; workers come later."""

    def make(name):
        budgets = {name: BUDGETS[name]}
        return make_arena(models=slow_priced_models, database={"database_url": fresh_database}, budgets=budgets)

    return make


@pytest.fixture
def total(fresh_database):
    """(tokens, dollars) that the discussions have taken together."""
    statement = "SELECT sum(prompt_tokens + completion_tokens)::int, sum(cost_usd)::float8 FROM discussions"
    return lambda: rows(fresh_database, statement)[0]


def last_warnings(viewer):
    return [event for event in viewer.of_type("limit.warning") if event.data.get("wrap_up")]


def last_words(viewer):
    """What comes of the turn that was announced as the last one: a message, and no other follows it.

    It may be taken twice: who waits for a busy disk while the budget is locked is taken for dead.
    """
    [announced] = last_warnings(viewer)
    after = [event.type for event in viewer.events if event.is_durable and event.at > announced.at]
    return [kind for kind in after if kind != "turn.retried"]


@pytest.mark.parametrize("name", BUDGETS)
async def test_discussions_on_two_workers_never_exceed_a_budget_together(
    place_with, make_user, make_agent, make_discussion, fresh_database, total, name, monkeypatch, keep
):
    """And each has its one turn to conclude, for which it kept some of it back.

    All of them are open before the workers come, and a turn takes longer than the beginning of all: who begins when
    others have taken the whole budget has no turn.
    """
    monkeypatch.setattr(reservations, "ROOM_SECONDS", 1.0)
    place = place_with(name)
    person = await make_user(at=place)
    agent = await make_agent(by=person, model="openai/gpt-4o", params={"max_tokens": 150})
    opened = await asyncio.gather(
        *(make_discussion(by=person, agents=[agent], limits={"max_turns": 200}) for _ in range(DISCUSSIONS))
    )
    await asyncio.gather(*(asyncio.to_thread(keep, working(place.settings)) for _ in range(2)))
    viewers = await asyncio.gather(*(watch_to_the_end(person.http, one.id, 60) for one in opened))

    ends = [viewer.events[-1].data for viewer in viewers]
    whose = "the person who opened" if name.startswith("user") else "this workspace"
    assert {end["end_reason"] for end in ends} == {"max_tokens" if "tokens" in name else "max_cost"}
    assert all(whose in end["detail"] for end in ends)
    assert [[one.data["limit"] for one in last_warnings(viewer)] for viewer in viewers] == [[name]] * DISCUSSIONS
    assert [last_words(viewer) for viewer in viewers] == [["message.completed", "discussion.ended"]] * DISCUSSIONS
    tokens, dollars = total()
    most = BUDGETS[name]
    assert 0.5 * most < (tokens if "tokens" in name else dollars) <= most
    spent = rows(fresh_database, "SELECT scope, tokens::int, cost_usd::float8 FROM daily_spending ORDER BY 1")
    assert spent == [("user", tokens, pytest.approx(dollars)), ("workspace", tokens, pytest.approx(dollars))]
    assert rows(fresh_database, "SELECT count(*) FROM reservations") == [(0,)]


@pytest.fixture
def place(fresh_database, make_arena):
    """An API with room for one turn's worst case and no more; workers come as processes."""
    budgets = {"user_tokens_per_day": 6000}
    return make_arena(database={"database_url": fresh_database}, budgets=budgets)


async def test_a_worker_killed_mid_turn_leaves_the_budget_as_free_as_before(
    place, make_user, make_agent, make_discussion, make_model, start_worker, fresh_database, total
):
    person = await make_user(at=place)
    agent = await make_agent(
        by=person, model=make_model("tokens=40&delay_ms=50&no_usage").name, params={"max_tokens": 3500}
    )
    first = await start_worker(place.settings)
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 2})
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("message.delta")
        first.kill()
        assert rows(fresh_database, "SELECT tokens > 3500 FROM reservations") == [(True,)]
        await start_worker(place.settings, wait=False)
        await viewer.until("turn.retried", 40)
        ended = await viewer.until_ended(40)

    assert (ended.data["end_reason"], len(viewer.checker.messages)) == ("max_turns", 2)
    assert rows(fresh_database, "SELECT wrap_up FROM discussions") == [("max_turns",)]
    assert rows(fresh_database, "SELECT DISTINCT tokens::int FROM daily_spending") == [(total()[0],)]
    assert rows(fresh_database, "SELECT count(*) FROM reservations") == [(0,)]


async def test_what_a_crash_left_of_a_discussion_that_was_stopped_since_is_swept_away(
    place, make_user, make_agent, make_discussion, make_model, start_worker, fresh_database
):
    person = await make_user(at=place)
    agent = await make_agent(by=person, model=make_model("hang_first").name, params={"max_tokens": 3500})
    worker = await start_worker(place.settings)
    discussion = await make_discussion(by=person, agents=[agent])
    async with watching(person.http, discussion.id) as viewer:
        await eventually(lambda: rows(fresh_database, "SELECT count(*) FROM reservations") == [(1,)])
        worker.kill()
        await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")
        await viewer.until_ended()

    reserved = (await person.http.get("/api/v1/usage")).json()["user"]["reserved_tokens"]
    assert (reserved, rows(fresh_database, "SELECT count(*) FROM reservations")) == (0, [(1,)])
    await start_worker(place.settings)
    await eventually(lambda: rows(fresh_database, "SELECT count(*) FROM reservations") == [(0,)], 30)


@pytest.mark.parametrize("fallback", ["openai/gpt-4", "replay/gone"])
async def test_a_fallback_that_cannot_be_asked_is_no_fault_of_the_turns_own_model(
    make_place, priced_models, make_user, make_agent, make_discussion, make_model, tmp_path, fallback
):
    models = {**priced_models, "recordings": tmp_path}
    person = await make_user(at=make_place(models=models, budgets={"user_usd_per_day": 50.0}))
    recording = tmp_path / "gone.jsonl"
    recording.write_text("{}\n")
    agent = await make_agent(by=person, model=make_model("tokens=5").name, model_fallbacks=[fallback])
    recording.unlink()
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 2, "max_cost_usd": 0.001})

    viewer = await watch_to_the_end(person.http, discussion.id)

    assert (viewer.events[-1].data["end_reason"], len(viewer.checker.messages)) == ("max_turns", 2)
