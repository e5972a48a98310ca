"""What attempts took that brought no message, or half of one: the discussion, its log and the budgets know of it."""

import asyncio

import psycopg
import pytest

from app.domain import snapshot
from bench.fake_model import FakeModelServer
from tests.factories.discussions import seats
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import log_of, read
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

FIGURES = ("prompt_tokens", "completion_tokens", "cost_usd")


async def usage_by_the_log(http, discussion):
    """What the log adds up to; its fold must give the fresh read."""
    fresh, events = await read(http, discussion), await log_of(http, discussion)
    folded = dict(snapshot.EMPTY)
    for event in events:
        folded = snapshot.apply(folded, event["seq"], event["type"], event["data"])
    assert folded["usage"] == pytest.approx(fresh["usage"])
    told = [event["data"]["usage"] for event in events if event["data"].get("usage")]
    assert fresh["usage"] == pytest.approx({name: sum(one[name] for one in told) for name in FIGURES})
    return fresh["usage"]


def spent(viewer, kind):
    return [event.data.get("usage") for event in viewer.of_type(kind)]


async def test_attempts_that_were_cut_count_what_they_used(client, make_discussion, make_agent, make_model):
    agent = await make_agent(model=make_model("tokens=40&disconnect_after=30&fail_times=2").name)
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    usage = await usage_by_the_log(client, discussion)
    [message] = viewer.checker.messages.values()
    assert message["usage"]["completion_tokens"] == 40
    assert len(spent(viewer, "turn.retried")) == 2
    for one in spent(viewer, "turn.retried"):
        assert one["prompt_tokens"] > 0
        assert one["completion_tokens"] >= 30
    assert usage["completion_tokens"] >= 40 + 2 * 30


async def test_an_attempt_that_failed_before_its_first_word_used_nothing(
    client, make_discussion, make_agent, make_model
):
    agent = await make_agent(model=make_model("tokens=8&status=500&fail_times=1").name)
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    [retried] = viewer.of_type("turn.retried")
    [message] = viewer.checker.messages.values()
    assert "usage" not in retried.data
    assert await usage_by_the_log(client, discussion) == message["usage"]


@pytest.mark.parametrize("fault", ["whitespace", "whitespace&no_usage", "empty"])
async def test_a_passed_turn_counts_what_it_used(client, make_discussion, make_agent, make_model, fault):
    agent = await make_agent(model=make_model(fault).name)
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 2})

    viewer = await watch_to_the_end(client, discussion.id)

    usage = await usage_by_the_log(client, discussion)
    assert all(one["prompt_tokens"] > 0 for one in [*spent(viewer, "turn.retried"), *spent(viewer, "turn.passed")])
    assert len(viewer.of_type("turn.passed")) == 2
    assert usage["prompt_tokens"] > 0


async def test_a_question_that_was_cut_off_counts_what_it_used(client, make_discussion, make_agent, make_model):
    model = make_model("tokens=40&ignore_max_tokens&disconnect_after=10")
    moderator = await make_agent("Moderator", model=model.name)
    table = [await make_agent(name) for name in ("One", "Two", "Three")]
    discussion = await make_discussion(
        participants=[{"agent_id": moderator.id, "role": "moderator"}, *seats(*table)],
        turn_policy={"type": "moderator"},
        limits={"max_turns": 1},
    )

    viewer = await watch_to_the_end(client, discussion.id)

    [started], [message] = viewer.of_type("turn.started"), viewer.checker.messages.values()
    choice, usage = started.data["choice"], (await read(client, discussion))["usage"]
    assert len(model.requests) == 2
    assert choice["prompt_tokens"] > 0
    assert choice["completion_tokens"] >= 2 * 10
    assert usage == pytest.approx({name: choice[name] + message["usage"][name] for name in FIGURES})


@pytest.mark.parametrize("policy", ["pause", "continue", "end"])
async def test_a_failed_turn_counts_all_its_attempts(client, make_discussion, make_agent, make_model, policy):
    broken, good = make_model("tokens=40&disconnect_after=20"), make_model("tokens=5")
    table = [await make_agent(name, model=model.name) for name, model in (("Broken", broken), ("Good", good))]
    discussion = await make_discussion(participants=seats(*table), on_turn_failure=policy, limits={"max_turns": 4})
    async with watching(client, discussion.id) as viewer:
        await viewer.until("turn.failed", 20)
        await viewer.until(lambda e: e.type in {"discussion.paused", "discussion.ended"}, 20)

    [failed, *_] = spent(viewer, "turn.failed")
    assert failed["completion_tokens"] >= 20
    assert all(one["completion_tokens"] >= 20 for one in spent(viewer, "turn.retried"))
    usage = await usage_by_the_log(client, discussion)
    assert usage["completion_tokens"] >= 3 * 20
    assert (await client.post(f"/api/v1/discussions/{discussion.id}/stop")).status_code in {200, 409}


async def test_a_last_turn_that_failed_counts_what_it_used(client, make_discussion, make_agent, make_model):
    table = [await make_agent("Good"), await make_agent("Broken", model=make_model("disconnect_after=20").name)]
    discussion = await make_discussion(participants=seats(*table), limits={"max_turns": 2})

    viewer = await watch_to_the_end(client, discussion.id)

    assert viewer.events[-1].data["end_reason"] == "max_turns"
    [failed] = spent(viewer, "turn.failed")
    assert failed["completion_tokens"] >= 20
    assert (await usage_by_the_log(client, discussion))["completion_tokens"] >= 8 + 3 * 20


async def test_a_pause_between_attempts_keeps_what_the_last_one_used(
    make_place, make_user, make_discussion, make_agent, make_model
):
    person = await make_user(at=make_place(models={"model_attempts": 4}, worker={"lease_seconds": 1}))
    agent = await make_agent(by=person, model=make_model("disconnect_after=20&delay_ms=20").name)
    discussion = await make_discussion(by=person, agents=[agent])
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(lambda e: e.type == "message.delta" and e.data["attempt"] == 3)
        await person.http.post(f"/api/v1/discussions/{discussion.id}/pause")
        await viewer.until("discussion.paused")

    assert [event.data["attempt"] for event in viewer.of_type("turn.retried")] == [2, 3, 4]
    assert all(one["completion_tokens"] >= 20 for one in spent(viewer, "turn.retried"))
    assert (await usage_by_the_log(person.http, discussion))["completion_tokens"] >= 3 * 20


async def test_cut_attempts_spend_the_budget_of_the_day_and_never_more(
    fresh_database, make_place, make_user, make_discussion, make_agent, make_model
):
    models = {"model_attempts": 10, "model_breaker_failures": 0}
    person = await make_user(at=make_place(budgets={"user_tokens_per_day": 600}, models=models))
    model = make_model("disconnect_after=60")
    agent = await make_agent(by=person, model=model.name, params={"max_tokens": 400})
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 2})

    viewer = await watch_to_the_end(person.http, discussion.id, 40)

    assert viewer.events[-1].data["end_reason"] == "max_tokens"
    assert "the daily budget of tokens of the person" in viewer.events[-1].data["detail"]
    usage = await usage_by_the_log(person.http, discussion)
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    assert 1 < len(model.requests) < 10
    assert tokens <= 600
    assert rows(fresh_database, "SELECT tokens::int FROM daily_spending") == [(tokens,)] * 2
    assert rows(fresh_database, "SELECT count(*) FROM reservations") == [(0,)]


def speaks_on(event):
    return event.type == "message.delta" and event.data["offset"] > 100


@pytest.mark.parametrize("command", ["interrupt", "stop"])
async def test_an_interrupted_turn_counts_its_prompt_and_what_was_shown(
    client, make_discussion, make_agent, make_model, command
):
    model = make_model("endless&delay_ms=5")
    agent = await make_agent(model=model.name, params={"max_tokens": 3000})
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 5})
    async with watching(client, discussion.id) as viewer:
        await viewer.until(speaks_on)
        await client.post(f"/api/v1/discussions/{discussion.id}/{command}")
        message = (await viewer.until("message.completed")).data

    [asked] = model.prompts
    characters = sum(len(one["content"]) for one in asked)
    assert characters / 5 < message["usage"]["prompt_tokens"] < characters / 2
    assert len(viewer.text) / 5 < message["usage"]["completion_tokens"] < len(viewer.text) / 2
    assert await usage_by_the_log(client, discussion) == message["usage"]


async def test_an_interrupted_turn_has_the_price_of_its_model(
    fresh_database, keep, make_place, make_user, make_discussion, make_agent
):
    server = keep(FakeModelServer(default="endless&delay_ms=5"))
    # Taken for Azure's address behind a gateway, whose prices are known, as `priced_models` says.
    address = server.base_url.replace("127.0.0.1", "localhost").removesuffix("/v1")
    models = {"openai_base_url": f"{address}/x.openai.azure.com/v1"}
    person = await make_user(at=make_place(models=models, budgets={"workspace_usd_per_day": 10.0}))
    agent = await make_agent(by=person, model="openai/gpt-4o", params={"max_tokens": 3000})
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 5})
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(speaks_on)
        await person.http.post(f"/api/v1/discussions/{discussion.id}/interrupt")
        message = (await viewer.until("message.completed")).data

    assert message["usage"]["cost_usd"] > 0
    assert await usage_by_the_log(person.http, discussion) == message["usage"]
    spent_today = rows(fresh_database, "SELECT DISTINCT cost_usd::float8 FROM daily_spending")
    assert spent_today == [(message["usage"]["cost_usd"],)]


@pytest.fixture
async def interrupting(make_place, make_user, make_discussion, make_agent, make_model):
    """A person with a budget, and a discussion of theirs in which somebody speaks."""
    person = await make_user(at=make_place(budgets={"user_tokens_per_day": 100_000}))
    agent = await make_agent(by=person, model=make_model("endless&delay_ms=5").name, params={"max_tokens": 3000})
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 5})
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(speaks_on)
        yield person, discussion


@pytest.mark.parametrize("command", ["interrupt", "stop"])
async def test_an_interrupted_turn_spends_the_budget_of_the_day(fresh_database, interrupting, command):
    person, discussion = interrupting

    await person.http.post(f"/api/v1/discussions/{discussion.id}/{command}")

    usage = await usage_by_the_log(person.http, discussion)
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    assert tokens > 0
    assert rows(fresh_database, "SELECT tokens::int FROM daily_spending") == [(tokens,)] * 2
    assert rows(fresh_database, "SELECT count(*) FROM reservations") == [(0,)]


async def test_a_command_that_waits_for_the_budget_keeps_nobody_from_setting_room_aside(fresh_database, interrupting):
    """Who sets room aside has the budget's row, and refers to the discussion's, which the command has."""
    person, discussion = interrupting
    with psycopg.connect(fresh_database) as other:
        other.execute("SET lock_timeout = '5s'")
        other.execute("SELECT 1 FROM daily_spending FOR UPDATE")
        command = asyncio.create_task(person.http.post(f"/api/v1/discussions/{discussion.id}/interrupt"))
        waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
        await eventually(lambda: rows(fresh_database, waiting) == [(True,)])
        other.execute("DELETE FROM reservations")
        other.execute(
            "INSERT INTO reservations (discussion_id, workspace_id, day, tokens, cost_usd) "
            "SELECT id, workspace_id, current_date, 1, 0 FROM discussions"
        )

    assert (await command).status_code == 200
    assert rows(fresh_database, "SELECT DISTINCT tokens > 0 FROM daily_spending") == [(True,)]
