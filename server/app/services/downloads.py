"""How many files a person is being sent at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from app.core.errors import RateLimited

MOST_AT_ONCE = 4


class TooManyDownloads(RateLimited):
    """One person is being sent as many files as one may."""

    code = "too_many_downloads"


class Downloads:
    """Those of one process: a page of each is in memory for as long as its reader takes it."""

    def __init__(self) -> None:
        self._held: Counter[UUID] = Counter()

    @contextmanager
    def holding(self, user_id: UUID) -> Iterator[None]:
        """Count one while the block runs; raise `TooManyDownloads` beyond what one person may have."""
        if self._held[user_id] >= MOST_AT_ONCE:
            raise TooManyDownloads(f"{MOST_AT_ONCE} files are being sent to you; wait for one to end")
        self._held[user_id] += 1
        try:
            yield
        finally:
            self._held[user_id] -= 1
            if not self._held[user_id]:
                del self._held[user_id]
