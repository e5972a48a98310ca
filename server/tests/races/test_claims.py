"""The fence: of two drivers only the one with the newest claim writes anything."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.config import DatabaseSettings
from app.core.clock import utc_now
from app.core.database import make_engine
from app.domain import events
from app.repositories.event_log import store
from app.repositories.turns import Claim, Held, TurnRecord, TurnRepository, TurnState
from app.worker import _worker
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

LEASE = 60


@pytest.fixture
def place(fresh_database, make_arena):
    """Without a worker: the test drives by hand."""
    return make_arena(database={"database_url": fresh_database})


@pytest.fixture
async def turns(fresh_database):
    engine = make_engine(DatabaseSettings(database_url=fresh_database), "test")
    yield TurnRepository(engine)
    await engine.dispose()


@pytest.fixture
async def discussion_id(make_discussion):
    return UUID((await make_discussion()).id)


@pytest.fixture
def everything(fresh_database):
    """All that a driver may write, and the claim that it writes under."""
    tables = ("discussions", "discussion_events", "messages", "turns")
    return lambda: {table: rows(fresh_database, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables}


def spoken_turn(claim: Claim) -> tuple[TurnState, TurnRecord, list[events.StoredEvent]]:
    """A first turn as a driver would write it after the log's second event."""
    speaker, message_id, now = uuid4(), uuid4(), utc_now()
    state = TurnState(
        status="running",
        end_reason=None,
        turn=1,
        last_seq=3,
        speaker_id=speaker,
        speaker_reason="round_robin",
        last_speaker_id=speaker,
        turn_message_id=None,
        turn_attempt=0,
        turn_epoch=0,
        prompt_tokens=10,
        completion_tokens=5,
        cost_usd=0.0,
    )
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost_usd": 0.0}
    message = {
        **{"id": message_id, "seq": 3, "turn": 1, "participant_id": speaker, "handle": "skeptic", "name": "Skeptic"},
        **{"kind": "llm", "content": "I doubt it.", "status": "complete", "usage": usage},
        **{"citations": [], "dropped_citations": 0, "tools": [], "parsed": None},
    }
    record = TurnRecord(
        turn=1,
        attempt=1,
        participant_id=speaker,
        message_id=message_id,
        outcome="completed",
        reason="round_robin",
        model="openai/fake",
        error_code=None,
        first_token_ms=1.0,
        duration_ms=2.0,
        finished_at=now,
        message=message,
    )
    return state, record, store([events.message_completed(message)], 3, now)


async def save(turns, claim, *, known_seq=2):
    state, record, stored = spoken_turn(claim)
    return await turns.save(claim, known_seq, state, stored, record, keep_lease_seconds=LEASE)


async def let_the_lease_lapse(database):
    rows(database, "UPDATE discussions SET lease_until = now() - interval '1 second'")


async def test_a_discussion_is_claimed_by_one_of_many_at_once(turns, discussion_id):
    claims = await asyncio.gather(*(turns.claim(discussion_id, f"worker {n}", LEASE) for n in range(8)))

    [winner] = [claim for claim in claims if isinstance(claim, Claim)]
    others = [claim for claim in claims if isinstance(claim, Held)]
    assert len(others) == 7
    assert all(held.epoch == winner.epoch and 0 < held.seconds_left <= LEASE for held in others)


async def test_a_lapsed_claim_may_be_taken_and_the_epoch_grows(turns, discussion_id, fresh_database):
    first = await turns.claim(discussion_id, "first", LEASE)
    await let_the_lease_lapse(fresh_database)

    second = await turns.claim(discussion_id, "second", LEASE)

    assert second.epoch == first.epoch + 1


async def test_the_holder_of_the_claim_writes_a_turn_whole(turns, discussion_id, everything):
    claim = await turns.claim(discussion_id, "first", LEASE)
    before = everything()

    assert await save(turns, claim)

    after = everything()
    assert {table: len(after[table]) - len(before[table]) for table in after} == {
        "discussions": 0,
        "discussion_events": 1,
        "messages": 1,
        "turns": 1,
    }


async def test_a_driver_that_was_taken_over_writes_nothing(turns, discussion_id, fresh_database, everything):
    stale = await turns.claim(discussion_id, "first", LEASE)
    await let_the_lease_lapse(fresh_database)
    await turns.claim(discussion_id, "second", LEASE)
    before = everything()

    assert not await save(turns, stale)

    assert everything() == before


async def test_a_driver_that_missed_somebodys_words_writes_nothing(turns, discussion_id, client, everything):
    claim = await turns.claim(discussion_id, "first", LEASE)
    await client.post(f"/api/v1/discussions/{discussion_id}/messages", json={"content": "Wait!"})
    before = everything()

    assert not await save(turns, claim)

    assert everything() == before


async def test_the_same_turn_cannot_be_written_twice(turns, discussion_id, everything):
    claim = await turns.claim(discussion_id, "first", LEASE)
    assert await save(turns, claim)
    before = everything()

    assert not await save(turns, claim)

    assert everything() == before


async def test_of_many_writes_under_one_claim_one_is_made(turns, discussion_id, everything):
    claim = await turns.claim(discussion_id, "first", LEASE)

    saved = await asyncio.gather(*(save(turns, claim) for _ in range(8)))

    assert saved.count(True) == 1
    assert len(everything()["messages"]) == 1


async def test_a_lost_claim_is_not_renewed_and_its_release_frees_nobody_elses(turns, discussion_id, fresh_database):
    stale = await turns.claim(discussion_id, "first", LEASE)
    await let_the_lease_lapse(fresh_database)
    await turns.claim(discussion_id, "second", LEASE)

    assert await turns.renew([stale], LEASE) == {}
    await turns.release(stale)

    assert isinstance(await turns.claim(discussion_id, "third", LEASE), Held)
    assert await turns.last_seq(stale) is None


async def test_a_claim_is_renewed_among_others_that_are_lost(turns, discussion_id):
    claim = await turns.claim(discussion_id, "first", LEASE)
    lost = replace(claim, discussion_id=uuid4())

    assert await turns.renew([lost, claim], LEASE) == {discussion_id: False}


async def test_a_stop_fences_the_driver_off(turns, discussion_id, client, everything):
    claim = await turns.claim(discussion_id, "first", LEASE)
    await client.post(f"/api/v1/discussions/{discussion_id}/stop")
    before = everything()

    assert not await save(turns, claim)
    assert await turns.renew([claim], LEASE) == {}

    assert everything() == before


@pytest.mark.parametrize("status", ["draft", "waiting", "ended"])
async def test_what_does_not_run_cannot_be_claimed(turns, make_discussion, status):
    idle = await make_discussion(status=status)

    assert await turns.claim(UUID(idle.id), "first", LEASE) is None


async def test_drivers_of_several_workers_on_one_discussion_take_every_turn_once(
    place, keep, portal, make_agent, make_discussion, make_model, fresh_database
):
    model = make_model("tokens=6&delay_ms=4")
    agent = await make_agent(model=model.name)
    made = [await make_discussion(agents=[agent], limits={"max_turns": 5}) for _ in range(4)]
    drivers = [keep(_worker(place.settings))[1] for _ in range(3)]

    async def drive_all() -> None:
        await asyncio.gather(*(driver.drive(UUID(one.id)) for driver in drivers for one in made * 2))

    await asyncio.to_thread(portal.call, drive_all)

    ended = "SELECT count(*) FROM discussions WHERE status = 'ended' AND turn = 5"
    await eventually(lambda: rows(fresh_database, ended) == [(4,)], 20, "the end of all")
    per_turn = "SELECT count(*) FROM messages GROUP BY discussion_id, turn"
    assert rows(fresh_database, per_turn) == [(1,)] * 20
    assert rows(fresh_database, "SELECT 1 FROM discussion_events WHERE type = 'turn.retried'") == []
    assert len(model.requests) == 20
