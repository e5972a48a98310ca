"""Comparing two discussions, message by message, from where they part."""

from itertools import zip_longest
from uuid import UUID

from app.core.cursors import decode_numbers, encode_cursor
from app.models import Discussion
from app.schemas.diff import CommonPart, DiscussionDiff, MessagePair
from app.schemas.message import MessageRead
from app.services.callers import Actor
from app.services.messages import MessageService
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

FURTHEST_ANCESTOR = 64


class DiscussionDiffs:
    """Discussions part where one was forked from the other, or both from a third."""

    def __init__(self, uow: UnitOfWorkFactory, messages: MessageService) -> None:
        self._uow = uow
        self._messages = messages

    async def compare(
        self, actor: Actor, left_id: UUID, right_id: UUID, limit: int, cursor: str | None
    ) -> DiscussionDiff:
        """The pairs of messages after the common part; a cursor goes on where a page ended."""
        async with self._uow.reading(actor.workspace_id) as work:
            left, right = await work.discussions.get(left_id), await work.discussions.get(right_id)
            common = await _common_seq(work, left, right)
            turn = await work.log.last_closed_turn(left_id, common)
        places = decode_numbers(cursor, "diff", 2) if cursor else (common, common)
        pages = [
            await self._messages.list_after(actor, discussion_id, place, limit + 1)
            for discussion_id, place in zip((left_id, right_id), places, strict=True)
        ]
        shown = [page[:limit] for page in pages]
        has_more = any(len(page) > limit for page in pages)
        ends = [part[-1].seq if part else place for part, place in zip(shown, places, strict=True)]
        return DiscussionDiff(
            left_id=left_id,
            right_id=right_id,
            common=CommonPart(seq=common, turn=turn),
            items=[_pair(*pair) for pair in zip_longest(*shown)],
            next_cursor=encode_cursor("diff", *ends) if has_more else None,
        )


def _pair(left: MessageRead | None, right: MessageRead | None) -> MessagePair:
    same = left is not None and right is not None and (left.handle, left.content) == (right.handle, right.content)
    return MessagePair(left=left, right=right, same=same)


async def _common_seq(work: UnitOfWork, left: Discussion, right: Discussion) -> int:
    """The last event of the log that both began with."""
    ours, theirs = await _ancestry(work, left), await _ancestry(work, right)
    return max((min(ours[one], theirs[one]) for one in ours.keys() & theirs.keys()), default=0)


async def _ancestry(work: UnitOfWork, discussion: Discussion) -> dict[UUID, int]:
    """How much of its own log and of each ancestor's a discussion holds."""
    held, upto = {discussion.id: discussion.last_seq}, discussion.last_seq
    current: Discussion | None = discussion
    while current is not None and current.parent_id is not None and len(held) < FURTHEST_ANCESTOR:
        upto = min(upto, current.parent_seq or 0)
        held[current.parent_id] = upto
        current = await work.discussions.find(current.parent_id)
    return held
