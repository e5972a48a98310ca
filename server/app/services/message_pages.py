"""Pages of messages as they go over the wire."""

from dataclasses import dataclass
from uuid import UUID

import orjson
from cachetools import LRUCache

from app.core.entity_tags import tag_of
from app.domain.discussion import Status
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


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page as JSON, and its entity tag; `is_final`: it will never be another.

    It was made when the log ended at `log_end`.
    """

    text: bytes
    tag: str
    log_end: int
    is_final: bool


class MessagePages:
    """Pages that PostgreSQL wrote, kept for as long as their discussion's log ends where it ended then.

    That is asked each time (`LogEnds`), so that no page is older than the request for it. All that a page shows, or by
    which it differs between readers (messages, seats), changes together with the log; their role is part of the key.
    """

    def __init__(self, uow: UnitOfWorkFactory, ends: LogEnds) -> None:
        self._uow = uow
        self._ends = ends
        self._kept: LRUCache[_Key, MessagePage] = LRUCache(KEPT_BYTES, getsizeof=_size)

    async def get(self, actor: Actor, page: PageOf) -> MessagePage:
        """What the actor may read of it; raise `NotFound` or `BadCursor`."""
        sees_all = actor.may(Permission.DISCUSSIONS_CONTROL)
        key = page, actor.workspace_id, actor.user_id, sees_all
        kept = self._kept.get(key)
        if kept is not None and kept.log_end == await self._ends.of(page.discussion_id):
            return kept
        async with self._uow.reading(actor.workspace_id) as work:
            found = await work.message_pages.get(page, actor.user_id, sees_all=sees_all)
        text = b'{"items":[%b],"next_cursor":%b}' % (found.items.encode(), orjson.dumps(found.following))
        made = MessagePage(text, tag_of(text), found.log_end, found.status == Status.ENDED)
        if len(text) <= LARGEST_KEPT_BYTES:
            self._kept[key] = made
        return made


def _size(kept: MessagePage) -> int:
    return len(kept.text) + _OVERHEAD_BYTES
