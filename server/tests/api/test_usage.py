"""What is spent of the budgets of a day, as people see it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.domain.discussion import Status
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import tokens_of
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

NOTHING = {"reserved_tokens": 0, "reserved_cost_usd": 0.0, "max_tokens": None, "max_cost_usd": None}
UNKEPT = {"tokens": None, "cost_usd": None, **NOTHING}


@pytest.fixture
def place(make_place):
    """An installation with budgets."""
    return make_place(budgets={"user_tokens_per_day": 5000, "workspace_usd_per_day": 2.5})


async def usage(person):
    return (await person.http.get("/api/v1/usage")).json()


async def test_without_budgets_nothing_is_kept(client, owner, make_discussion, sql):
    await watch_to_the_end(client, (await make_discussion()).id)

    seen = await usage(owner)

    assert (seen["user"], seen["workspace"]) == (UNKEPT, UNKEPT)
    # Other tests' workspaces, on the same database, may have budgets of their own.
    theirs = [owner.id, owner.workspace_id]
    assert sql("SELECT count(*) FROM daily_spending WHERE scope_id = ANY(%s)", theirs) == [(0,)]
    assert sql("SELECT count(*) FROM reservations WHERE workspace_id = %s", owner.workspace_id) == [(0,)]


async def test_the_day_is_that_of_utc_and_renews_at_its_end(owner):
    before = datetime.now(UTC).date()
    seen = await usage(owner)

    day = date.fromisoformat(seen["day"])
    assert day in {before, datetime.now(UTC).date()}
    assert seen["renews_at"] == f"{day + timedelta(days=1)}T00:00:00.000000Z"


async def test_what_discussions_took_is_charged_to_their_creator_and_workspace(person, make_discussion):
    discussions = [await make_discussion(by=person) for _ in range(2)]
    for discussion in discussions:
        await watch_to_the_end(person.http, discussion.id)

    tokens = sum([await tokens_of(person.http, one) for one in discussions])
    seen = await usage(person)
    assert seen["user"] == {**NOTHING, "tokens": tokens, "cost_usd": 0.0, "max_tokens": 5000}
    assert seen["workspace"] == {**NOTHING, "tokens": tokens, "cost_usd": 0.0, "max_cost_usd": 2.5}


async def test_somebody_else_has_spent_nothing(person, place, make_user, make_discussion):
    await watch_to_the_end(person.http, (await make_discussion(by=person)).id)

    seen = await usage(await make_user("Mallory", at=place))

    assert (seen["user"]["tokens"], seen["workspace"]["tokens"]) == (0, 0)


async def test_a_running_turns_worst_case_is_set_aside_until_the_discussion_stops(
    person, make_agent, make_discussion, make_model
):
    agent = await make_agent(by=person, model=make_model("endless&delay_ms=20").name, params={"max_tokens": 3000})
    discussion = await make_discussion(by=person, agents=[agent])
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("message.delta")
        # Besides the turn, a short one to conclude with.
        assert 3512 < (await usage(person))["user"]["reserved_tokens"] < 3800

        await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")

        assert (await usage(person))["user"]["reserved_tokens"] == 0
        await viewer.until_ended()


async def test_a_deleted_discussion_gives_back_what_it_had_set_aside(person, make_agent, make_discussion, make_model):
    agent = await make_agent(by=person, model=make_model("endless&delay_ms=20").name, params={"max_tokens": 3000})
    discussion = await make_discussion(by=person, agents=[agent])
    await eventually(lambda: _has_reserved(person))

    await person.http.delete(f"/api/v1/discussions/{discussion.id}")

    assert (await usage(person))["user"]["reserved_tokens"] == 0


async def _has_reserved(person):
    return (await usage(person))["user"]["reserved_tokens"] > 0


async def test_a_question_to_a_model_is_charged_as_well(person, make_agent, make_discussion, make_model):
    table = [await make_agent(name, by=person, model=make_model("reply=no").name) for name in ("One", "Two")]
    discussion = await make_discussion(
        by=person, agents=table, limits={"max_turns": 3}, stop_when=[{"type": "agreement"}]
    )

    await watch_to_the_end(person.http, discussion.id)

    seen = await usage(person)
    assert seen["user"]["tokens"] == await tokens_of(person.http, discussion)
    assert seen["user"]["reserved_tokens"] == 0


async def test_usage_is_for_who_is_logged_in_and_of_a_workspace_of_theirs(anonymous, owner, stranger):
    problem(await anonymous.get("/api/v1/usage"), 401, "unauthenticated")
    elsewhere = {"X-Workspace-ID": owner.workspace_id}
    assert (await stranger.http.get("/api/v1/usage", headers=elsewhere)).status_code == 404


async def test_a_draft_sets_nothing_aside(person, make_discussion):
    await make_discussion(by=person, status=Status.DRAFT)

    assert (await usage(person))["user"]["reserved_tokens"] == 0
