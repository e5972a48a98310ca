"""Wire types of the comparison of two discussions."""

from uuid import UUID

from app.schemas.base import Read
from app.schemas.message import MessageRead


class CommonPart(Read):
    """The log that both begin with: its last event and the turns in it. 0: they have nothing in common."""

    seq: int
    turn: int


class MessagePair(Read):
    """The k-th message after the common part, on both sides; null where one has said less."""

    left: MessageRead | None
    right: MessageRead | None
    same: bool


class DiscussionDiff(Read):
    """How two discussions go on from where they part, a page at a time."""

    left_id: UUID
    right_id: UUID
    common: CommonPart
    items: list[MessagePair]
    next_cursor: str | None = None
