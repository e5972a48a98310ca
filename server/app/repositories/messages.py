"""Messages, at their places in the log."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, true

from app.core.cursors import decode_numbers, encode_cursor
from app.core.ids import new_id
from app.domain.policies import TurnNote
from app.domain.visibility import Reader
from app.models import Message, Participant, Turn
from app.repositories.base import Repository

COPIED_AT_ONCE = 500


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

    async def exists(self, discussion_id: UUID, message_id: UUID, reader: Reader) -> bool:
        """Whether there is such a message for that reader."""
        query = select(Message.id).where(
            Message.workspace_id == self._workspace_id,
            Message.discussion_id == discussion_id,
            Message.id == message_id,
            _readable(reader),
        )
        return await self._session.scalar(query) is not None

    async def copy(self, source_id: UUID, target_id: UUID, upto_seq: int, ids: Mapping[str, str]) -> None:
        """Copy what everybody could read, up to a place in the log, under the ids given for messages and seats."""
        query = select(Message).where(
            Message.workspace_id == self._workspace_id,
            Message.discussion_id == source_id,
            Message.seq <= upto_seq,
            Message.visible_to.is_(None),
        )
        async for message in await self._session.stream_scalars(query.execution_options(yield_per=COPIED_AT_ONCE)):
            row = {name: getattr(message, name) for name in Message.__table__.columns.keys()}  # noqa: SIM118
            reply_to = ids.get(str(message.reply_to)) if message.reply_to else None
            row |= {
                "id": UUID(ids[str(message.id)]),
                "discussion_id": target_id,
                "participant_id": UUID(ids[str(message.participant_id)]),
                "reply_to": UUID(reply_to) if reply_to else None,
            }
            self._session.add(Message(**row))

    async def copy_turns(self, source_id: UUID, target_id: UUID, upto_turn: int, ids: Mapping[str, str]) -> None:
        """Copy the finished turns, under the ids given for messages and seats."""
        query = select(Turn).where(
            Turn.workspace_id == self._workspace_id, Turn.discussion_id == source_id, Turn.turn <= upto_turn
        )
        async for turn in await self._session.stream_scalars(query.execution_options(yield_per=COPIED_AT_ONCE)):
            row = {name: getattr(turn, name) for name in Turn.__table__.columns.keys()}  # noqa: SIM118
            row |= {
                "discussion_id": target_id,
                "participant_id": UUID(ids[str(turn.participant_id)]),
                "message_id": UUID(ids.get(str(turn.message_id), str(new_id()))),
            }
            self._session.add(Turn(**row))

    async def list_page(
        self, discussion_id: UUID, reader: Reader, *, newest_first: bool, limit: int, cursor: str | None
    ) -> tuple[list[Message], str | None]:
        """What that reader may read, by place in the log; a page costs the same wherever it begins."""
        query = select(Message).where(
            Message.workspace_id == self._workspace_id, Message.discussion_id == discussion_id, _readable(reader)
        )
        if cursor is not None:
            [position] = decode_numbers(cursor, list_name(newest_first))
            query = query.where(Message.seq < position if newest_first else Message.seq > position)
        order = Message.seq.desc() if newest_first else Message.seq
        rows = list(await self._session.scalars(query.order_by(order).limit(limit + 1)))
        if len(rows) <= limit:
            return rows, None
        return rows[:limit], cursor_at(rows[limit - 1].seq, newest_first=newest_first)

    async def list_recent(self, discussion_id: UUID, reader: Reader, limit: int, upto_seq: int) -> list[Message]:
        """The newest messages up to a place in the log that the reader may read, oldest first."""
        beyond = cursor_at(upto_seq + 1, newest_first=True)
        rows, _rest = await self.list_page(discussion_id, reader, newest_first=True, limit=limit, cursor=beyond)
        return rows[::-1]


def _readable(reader: Reader) -> ColumnElement[bool]:
    """`Reader.may_read` in SQL."""
    if reader.sees_all:
        return true()
    if not reader.seats:
        return Message.visible_to.is_(None)
    return or_(Message.visible_to.is_(None), Message.visible_to.bool_op("&&")(list(reader.seats)))


def cursor_at(seq: int, *, newest_first: bool) -> str:
    """The cursor of a page that begins past that place in the log."""
    return encode_cursor(list_name(newest_first), seq)


def list_name(newest_first: bool) -> str:
    """What cursors of that order are made for."""
    return "messages.desc" if newest_first else "messages.asc"
