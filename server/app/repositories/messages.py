"""Messages, at their places in the log."""

from uuid import UUID

from sqlalchemy import func, select

from app.core.cursors import BadCursor, decode_cursor, encode_cursor
from app.domain.policies import TurnNote
from app.models import Message, Participant, Turn
from app.repositories.base import Repository


class MessageRepository(Repository):
    """The messages of the workspace's discussions."""

    def add(self, message: Message) -> None:
        self._session.add(message)

    def add_turn(self, turn: Turn) -> None:
        self._session.add(turn)

    async def list_recent_turns(self, discussion_id: UUID, limit: int) -> list[TurnNote]:
        """The latest finished turns, newest first; each as the seat's own that it was taken for."""
        principal = func.coalesce(Participant.stands_in_for, Participant.id).label("participant_id")
        rows = await self._session.execute(
            select(Turn.turn, principal, Turn.outcome)
            .join(Participant, Participant.id == Turn.participant_id)
            .where(Turn.workspace_id == self._workspace_id, Turn.discussion_id == discussion_id)
            .order_by(Turn.turn.desc())
            .limit(limit)
        )
        return [TurnNote(row.turn, row.participant_id, row.outcome) for row in rows]

    async def find_turn(self, discussion_id: UUID, turn: int) -> Turn | None:
        """How that turn went, None if it is not over."""
        query = select(Turn).where(
            Turn.workspace_id == self._workspace_id, Turn.discussion_id == discussion_id, Turn.turn == turn
        )
        found: Turn | None = await self._session.scalar(query)
        return found

    async def exists(self, discussion_id: UUID, message_id: UUID) -> bool:
        query = select(Message.id).where(
            Message.workspace_id == self._workspace_id,
            Message.discussion_id == discussion_id,
            Message.id == message_id,
        )
        return await self._session.scalar(query) is not None

    async def list_page(
        self, discussion_id: UUID, *, newest_first: bool, limit: int, cursor: str | None
    ) -> tuple[list[Message], str | None]:
        """By place in the log; a page costs the same wherever it begins."""
        query = select(Message).where(
            Message.workspace_id == self._workspace_id, Message.discussion_id == discussion_id
        )
        if cursor is not None:
            position = _position_seq(cursor)
            query = query.where(Message.seq < position if newest_first else Message.seq > position)
        order = Message.seq.desc() if newest_first else Message.seq
        rows = list(await self._session.scalars(query.order_by(order).limit(limit + 1)))
        if len(rows) <= limit:
            return rows, None
        return rows[:limit], encode_cursor(f"seq:{rows[limit - 1].seq}")

    async def list_recent(self, discussion_id: UUID, limit: int, upto_seq: int) -> list[Message]:
        """The newest messages up to a place in the log, oldest first."""
        beyond = encode_cursor(f"seq:{upto_seq + 1}")
        rows, _rest = await self.list_page(discussion_id, newest_first=True, limit=limit, cursor=beyond)
        return rows[::-1]


def _position_seq(cursor: str) -> int:
    prefix, _, number = decode_cursor(cursor).partition("seq:")
    if prefix or not number.isascii() or not number.isdigit() or len(number) > 9:
        raise BadCursor("the cursor belongs to another list")
    return int(number)
