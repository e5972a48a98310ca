"""What all work on memories and summaries keeps to: when it is tried again, and when it is given up."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

Due = Callable[[datetime], datetime | None]
"""From the present to when something is tried again; None: never."""
MOST_TRIES = 10
"""Days without room in the budget included."""
BACK_OFF_SECONDS = (2.0, 30.0, 300.0, 3600.0)
"""After each failure of the model; after one more, the work is given up."""


def next_try(attempt: int, now: datetime) -> datetime | None:
    """When the model is asked again after its `attempt`-th failure, counted from 1; None: it is given up."""
    if attempt > len(BACK_OFF_SECONDS):
        return None
    return now + timedelta(seconds=BACK_OFF_SECONDS[attempt - 1])


def next_budget(now: datetime) -> datetime:
    """When the budgets of a day have renewed."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(0, 1), UTC)
