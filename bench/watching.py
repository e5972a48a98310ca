"""What it costs a turn that somebody watches: the same discussion with a live viewer and with none."""

import asyncio
from datetime import datetime
from itertools import pairwise

from bench.installation import Installation
from bench.runs import percentile, spread
from bench.viewer import Viewer

ROUNDS = 4
TURNS = 60
MOST_SECONDS = 120.0


async def measure_watching(arena: Installation, agents: list[str]) -> dict[str, float]:
    """By turns, watched and unwatched; the milliseconds between two completed messages as the log's times tell them."""
    gaps: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for watched in (True, False):
            gaps[watched] += await _gaps_ms(arena, agents, watched=watched)
    for watched, name in ((True, "watched"), (False, "unwatched")):
        print(f"{name + ', by the log, ms':<28} {spread(gaps[watched])}", flush=True)
    seen, unseen = (percentile(gaps[watched], 0.5) for watched in (True, False))
    return {"unwatched_turn_ms_p50": unseen, "watched_turn_ms_p50": seen, "streaming_overhead": seen / unseen - 1}


async def _gaps_ms(arena: Installation, agents: list[str], *, watched: bool) -> list[float]:
    draft = {
        "topic": "Should our team go remote?",
        "participants": [{"agent_id": agent} for agent in agents],
        "limits": {"max_turns": TURNS},
        "start": False,
    }
    where = f"/discussions/{(await arena.call('POST', '/discussions', draft))['id']}"
    viewer = await Viewer.watch(f"{arena.base_url}/api/v1{where}/events", arena.token) if watched else None
    try:
        await arena.call("POST", f"{where}/start")
        async with asyncio.timeout(MOST_SECONDS):
            while (await arena.call("GET", where))["status"] != "ended":
                await asyncio.sleep(0.1)
    finally:
        if viewer is not None:
            viewer.close()
    page = await arena.call("GET", f"{where}/events?limit=200")
    times = [datetime.fromisoformat(one["created_at"]) for one in page["items"] if one["type"] == "message.completed"]
    return [(later - earlier).total_seconds() * 1000 for earlier, later in pairwise(times)]
