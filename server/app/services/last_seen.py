"""When sessions were last used: noted in passing, written down now and then, many at once.

No request waits for it. A process that is killed forgets the last seconds, which is no harm: the time is for people.
"""

import asyncio
from datetime import timedelta
from uuid import UUID

import structlog

from app.core.clock import utc_now
from app.core.errors import Unavailable
from app.models import Session
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

# A session that is used all the time is written once in so long.
SEEN_SECONDS = 60.0
WRITE_SECONDS = 2.0


class LastSeen:
    """One per API process."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._noted: set[UUID] = set()

    def note(self, session: Session) -> None:
        """It is being used, and has just been read."""
        if session.last_seen_at < utc_now() - timedelta(seconds=SEEN_SECONDS):
            self._noted.add(session.id)

    async def run(self) -> None:
        """Write again and again until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted; what cannot be written is forgotten, for it will be noted again."""
        noted, self._noted = self._noted, set()
        if not noted:
            return
        try:
            async with self._uow() as work:
                await work.sessions.mark_seen(noted, SEEN_SECONDS)
        except Unavailable as error:
            log.warning("last_seen_not_written", reason=error.code)
