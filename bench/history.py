"""Whether a turn costs more the longer the discussion has been: turns around the 10th against turns around the 2,000th.

Short discussions are run right before and right after each long one, so that the two are measured within seconds of
each other and a machine that changes its pace meanwhile changes it for both.
"""

from itertools import pairwise

from bench.installation import Installation
from bench.runs import percentile, run, spread
from bench.viewer import Turn

ROUNDS = 3
SHORT_RUNS = 3
SHORT_TURNS = 32
EARLY = range(6, 31)
LATE = range(-115, -4)  # of 2,020 turns the 1,905th to the 2,015th


async def measure_history(arena: Installation, agents: list[str], turns: int) -> dict[str, float]:
    """Milliseconds of a turn early and late in a discussion of so many turns, and their ratio."""
    early: list[float] = []
    late: list[float] = []
    for _ in range(ROUNDS):
        early += await _short(arena, agents)
        [seen] = (await run(arena, agents, discussions=1, turns=turns)).turns
        late += _gaps_ms(seen, range(turns + LATE.start, turns + LATE.stop))
        early += await _short(arena, agents)
    print(f"{f'turns {EARLY.start} to {EARLY.stop - 1}, ms':<28} {spread(early)}")
    print(f"{f'turns {turns + LATE.start} to {turns + LATE.stop - 1}, ms':<28} {spread(late)}", flush=True)
    at_10, at_2000 = percentile(early, 0.5), percentile(late, 0.5)
    return {"turn_ms_p50_at_10": at_10, "turn_ms_p50_at_2000": at_2000, "history_ratio": at_2000 / at_10}


async def _short(arena: Installation, agents: list[str]) -> list[float]:
    found = []
    for _ in range(SHORT_RUNS):
        [seen] = (await run(arena, agents, discussions=1, turns=SHORT_TURNS)).turns
        found += _gaps_ms(seen, EARLY)
    return found


def _gaps_ms(seen: list[Turn], numbers: range) -> list[float]:
    """What each of these turns took from the end of the one before it."""
    gaps = {later.message["turn"]: (later.at - earlier.at) * 1000 for earlier, later in pairwise(seen)}
    return [gaps[number] for number in numbers]
