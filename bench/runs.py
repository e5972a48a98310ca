"""Discussions run to their end while viewers watch: what the benchmarks of turns measure, and check."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bench.fake_behaviour import VARIANTS, reply_text
from bench.installation import OTHERS, Installation
from bench.viewer import Turn, Viewer

MODEL = "fake"
AGENTS = 4
RUN_SECONDS = 600


@dataclass
class Run:
    """Discussions that ran at once, as their viewers saw them."""

    seconds: float
    turns: list[list[Turn]]
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.turns))

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def gaps_ms(self) -> list[float]:
        """Milliseconds between consecutive completed messages of a discussion."""
        return [(later.at - earlier.at) * 1000 for seen in self.turns for earlier, later in pairwise(seen)]

    def others_cpus(self) -> float:
        """How many CPUs were busy with what is not ours: the figures are only as good as the machine was quiet."""
        return self.cpu_seconds[OTHERS] / self.seconds

    def cpu_ms_per_turn(self, *names: str) -> float:
        return sum(spent for name, spent in self.cpu_seconds.items() if name.startswith(names)) / self.count * 1000


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float]) -> str:
    low, middle, high, most = (percentile(values, share) for share in (0.1, 0.5, 0.95, 1))
    return f"p10 {low:.2f}  p50 {middle:.2f}  p95 {high:.2f}  max {most:.2f}"


async def make_agents(arena: Installation) -> list[str]:
    bodies = [
        {
            "name": f"Panelist {number}",
            "handle": f"panelist-{number}",
            "persona": f"You are panelist {number}. You doubt every claim until somebody shows the figures.",
            "model": f"openai/{MODEL}",
            "params": {"max_tokens": 200},
        }
        for number in range(1, AGENTS + 1)
    ]
    return [(await arena.call("POST", "/agents", body))["id"] for body in bodies]


async def run(arena: Installation, agents: list[str], *, discussions: int, turns: int) -> Run:
    """Open drafts, watch each, start all at once, wait for the last end, and check what every viewer saw."""
    draft = {
        "topic": "Should our team go remote?",
        "participants": [{"agent_id": agent} for agent in agents],
        "limits": {"max_turns": turns},
        "start": False,
    }
    ids = [(await arena.call("POST", "/discussions", draft))["id"] for _ in range(discussions)]
    viewers = [
        await Viewer.watch(f"{arena.base_url}/api/v1/discussions/{discussion}/events", arena.token)
        for discussion in ids
    ]
    try:
        spent = arena.cpu_seconds()
        started = time.perf_counter()
        await asyncio.gather(*(arena.call("POST", f"/discussions/{discussion}/start") for discussion in ids))
        async with asyncio.timeout(RUN_SECONDS):
            await asyncio.gather(*(viewer.ended for viewer in viewers))
        seconds = time.perf_counter() - started
        spent = {name: total - spent.get(name, 0.0) for name, total in arena.cpu_seconds().items()}
        result = Run(seconds, [viewer.turns() for viewer in viewers], spent)
    finally:
        for viewer in viewers:
            viewer.close()
    await check(arena, ids, result, turns)
    return result


async def check(arena: Installation, ids: list[str], result: Run, turns: int) -> None:
    """Every viewer saw every turn, each the model's whole reply, and the API gives the same messages afterwards."""
    replies = {reply_text(MODEL, ordinal) for ordinal in range(VARIANTS)}
    for discussion, seen in zip(ids, result.turns, strict=True):
        assert len(seen) == turns, f"{len(seen)} turns of {turns} were seen"
        assert all(turn.message["content"] in replies for turn in seen), "a message is not what the model said"
        page = await arena.call("GET", f"/discussions/{discussion}/messages?limit=200&order=asc")
        stored = [(message["id"], message["content"]) for message in page["items"]]
        assert stored == [(turn.message["id"], turn.message["content"]) for turn in seen][:200]
