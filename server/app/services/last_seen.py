"""When sessions and API keys were last used: noted in passing, written down now and then, many at once.

No request waits for it. A process that is killed forgets the last seconds, which is no harm: the time is for people.
"""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.core.clock import utc_now
from app.core.errors import Unavailable
from app.models import ApiKey, Session
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

# What is used all the time is written once in so long.
SEEN_SECONDS = 60.0
WRITE_SECONDS = 2.0


class LastSeen:
    """One per API process."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._sessions: set[UUID] = set()
        self._keys: set[UUID] = set()

    def note_session(self, session: Session) -> None:
        """It is being used, and has just been read."""
        if _is_long_ago(session.last_seen_at):
            self._sessions.add(session.id)

    def note_key(self, key: ApiKey) -> None:
        """The same of an API key."""
        if key.last_used_at is None or _is_long_ago(key.last_used_at):
            self._keys.add(key.id)

    async def run(self) -> None:
        """Write again and again until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted; what cannot be written is forgotten, for it will be noted again."""
        sessions, self._sessions = self._sessions, set()
        keys, self._keys = self._keys, set()
        if not sessions and not keys:
            return
        try:
            async with self._uow() as work:
                await work.sessions.mark_seen(sessions, SEEN_SECONDS)
                await work.api_keys.mark_used(keys, SEEN_SECONDS)
        except Unavailable as error:
            log.warning("last_seen_not_written", reason=error.code)


def _is_long_ago(moment: datetime) -> bool:
    return moment < utc_now() - timedelta(seconds=SEEN_SECONDS)
