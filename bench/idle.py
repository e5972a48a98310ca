"""What open discussions cost that nobody speaks in: memory, and the way of another one to its first turn.

They are put into the tables directly, as copies of one that was made over the API: most wait for a person, some are
paused, some run elsewhere, held by another worker's lease.
"""

import asyncio
import random
import time
from contextlib import closing
from uuid import UUID

import psycopg

from app.config import DatabaseSettings
from app.core.database import make_engine
from app.repositories.turns import Claim, TurnRepository
from bench.installation import Installation
from bench.runs import percentile, spread
from bench.viewer import Viewer

WAITING, PAUSED = 0.7, 0.2
SETTLE_SECONDS = 4.0
STARTS = 200
LEASE_SECONDS = 3600
_COPY = """
    WITH copies AS (
        SELECT uuidv7() AS id, n FROM generate_series(0, %(count)s - 1) AS n
    ), discussion AS (
        INSERT INTO discussions
        SELECT (jsonb_populate_record(d, to_jsonb(d) || jsonb_build_object(
            'id', copies.id,
            'status', CASE WHEN n < %(waiting)s THEN 'waiting' WHEN n < %(paused)s THEN 'paused' ELSE 'running' END,
            'lease_owner', CASE WHEN n >= %(paused)s THEN 'elsewhere' END,
            'lease_until', CASE WHEN n >= %(paused)s THEN now() + make_interval(secs => %(lease)s) END
        ))).* FROM discussions d, copies WHERE d.id = %(id)s
    )
    INSERT INTO participants
    SELECT (jsonb_populate_record(p, to_jsonb(p) || jsonb_build_object('id', uuidv7(), 'discussion_id', copies.id))).*
    FROM participants p, copies WHERE p.discussion_id = %(id)s
"""


async def measure_idle(arena: Installation, agents: list[str], count: int) -> dict[str, float]:
    """Resident KiB for each of so many open idle discussions, and milliseconds from a start to the first turn."""
    waiting = await _open_one(arena, agents)
    before = arena.rss_bytes()
    await asyncio.to_thread(_copy, arena.database_url, waiting, count)
    await asyncio.sleep(SETTLE_SECONDS)  # what looks for work looks a few times
    grown_kib = (arena.rss_bytes() - before) / 1024
    statements = await _claims_ms(arena, agents)
    starts = await _starts_ms(arena, agents)
    print(f"{count:,} open idle discussions: API and workers grew by {grown_kib:,.0f} KiB")
    print(f"claim statement alone, ms    {spread(statements)}")
    print(f"start to turn.started, ms    {spread(starts)}", flush=True)
    return {"claim_ms_p99": percentile(starts, 0.99), "idle_rss_kb_per_discussion": grown_kib / count}


async def _open_one(arena: Installation, agents: list[str]) -> str:
    """A discussion that waits for a person."""
    user = await arena.call("GET", "/auth/me")
    seats = [{"user_id": user["id"]}, *({"agent_id": agent} for agent in agents)]
    made = await arena.call("POST", "/discussions", {"topic": "Who waits?", "participants": seats})
    assert made["status"] == "waiting"
    discussion: str = made["id"]
    return discussion


def _copy(database_url: str, discussion: str, count: int) -> None:
    waiting, paused = int(count * WAITING), int(count * (WAITING + PAUSED))
    values = {"id": discussion, "count": count, "waiting": waiting, "paused": paused, "lease": LEASE_SECONDS}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_COPY, values)
        connection.execute("ANALYZE discussions, participants")


def _draft(agents: list[str]) -> dict[str, object]:
    seats = [{"agent_id": agent} for agent in agents]
    return {"topic": "Who begins?", "participants": seats, "limits": {"max_turns": 1}, "start": False}


async def _starts_ms(arena: Installation, agents: list[str]) -> list[float]:
    """From asking for a start until a viewer sees `turn.started`: HTTP, the queue, the claim and the first write."""
    found = []
    for _ in range(STARTS):
        discussion = (await arena.call("POST", "/discussions", _draft(agents)))["id"]
        address = f"{arena.base_url}/api/v1/discussions/{discussion}/events"
        with closing(await Viewer.watch(address, arena.token)) as viewer:
            # The queue is idle at whatever point of its rounds, as it is for whoever comes by chance.
            await asyncio.sleep(random.uniform(0, 0.02))
            asked = time.perf_counter()
            await arena.call("POST", f"/discussions/{discussion}/start")
            await asyncio.wait_for(viewer.ended, 30)
            began = next(event.at for event in viewer.events() if event.type == "turn.started")
        found.append((began - asked) * 1000)
    return found


async def _claims_ms(arena: Installation, agents: list[str]) -> list[float]:
    """The claiming statement alone, on discussions that nobody else drives."""
    ids = [UUID((await arena.call("POST", "/discussions", _draft(agents)))["id"]) for _ in range(STARTS)]
    with psycopg.connect(arena.database_url, autocommit=True) as connection:
        connection.execute("UPDATE discussions SET status = 'running' WHERE id = ANY(%s)", [ids])
    engine = make_engine(DatabaseSettings(database_url=arena.database_url), "bench")
    turns = TurnRepository(engine)
    found = []
    try:
        for discussion_id in ids:
            began = time.perf_counter()
            claim = await turns.claim(discussion_id, "bench", LEASE_SECONDS)
            found.append((time.perf_counter() - began) * 1000)
            assert isinstance(claim, Claim)
    finally:
        await engine.dispose()
    return found
