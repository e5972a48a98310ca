"""Pages of messages as they go over the wire."""

from uuid import UUID

import orjson
from cachetools import LRUCache

from app.domain.permissions import Permission
from app.repositories.message_pages import PageOf
from app.services.callers import Actor
from app.services.log_ends import LogEnds
from app.services.unit_of_work import UnitOfWorkFactory

KEPT_BYTES = 16 * 1024 * 1024
LARGEST_KEPT_BYTES = KEPT_BYTES // 64
_OVERHEAD_BYTES = 1_000
"""What an entry takes besides its text."""

_Key = tuple[PageOf, UUID, UUID, bool]
_Kept = tuple[int, bytes]


class MessagePages:
    """Pages that PostgreSQL wrote, kept for as long as their discussion's log ends where it ended then.

    That is asked each time (`LogEnds`), so that no page is older than the request for it. All that a page shows, or by
    which it differs between readers (messages, seats), changes together with the log; their role is part of the key.
    """

    def __init__(self, uow: UnitOfWorkFactory, ends: LogEnds) -> None:
        self._uow = uow
        self._ends = ends
        self._kept: LRUCache[_Key, _Kept] = LRUCache(KEPT_BYTES, getsizeof=_size)

    async def get(self, actor: Actor, page: PageOf) -> bytes:
        """What the actor may read of it, as JSON; raise `NotFound` or `BadCursor`."""
        sees_all = actor.may(Permission.DISCUSSIONS_CONTROL)
        key = page, actor.workspace_id, actor.user_id, sees_all
        kept = self._kept.get(key)
        if kept is not None and kept[0] == await self._ends.of(page.discussion_id):
            return kept[1]
        async with self._uow.reading(actor.workspace_id) as work:
            items, following, end = await work.message_pages.get(page, actor.user_id, sees_all=sees_all)
        text = b'{"items":[%b],"next_cursor":%b}' % (items.encode(), orjson.dumps(following))
        if len(text) <= LARGEST_KEPT_BYTES:
            self._kept[key] = end, text
        return text


def _size(kept: _Kept) -> int:
    return len(kept[1]) + _OVERHEAD_BYTES
