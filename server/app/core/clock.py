"""The wall clock, in one place."""

from datetime import UTC, datetime, timedelta
from time import perf_counter


def utc_now() -> datetime:
    return datetime.now(UTC)


_BEGAN = datetime.now(UTC) - timedelta(seconds=perf_counter())


def steady_now() -> datetime:
    """The time as this process has counted it since its start: nobody who sets the clock moves it."""
    return _BEGAN + timedelta(seconds=perf_counter())


def rfc3339(moment: datetime) -> str:
    """`2026-01-02T03:04:05.678901Z` (RFC 3339, UTC)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
