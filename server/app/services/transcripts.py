"""The whole discussion as one document."""

from collections.abc import AsyncIterator
from typing import Literal
from uuid import UUID

from app.domain.transcript import CitedSource, markdown_entry, markdown_header, text_entry, text_header
from app.schemas.discussion import DiscussionRead
from app.schemas.message import MessageRead
from app.services.callers import Actor
from app.services.discussions import DiscussionService
from app.services.messages import MessageService

TranscriptFormat = Literal["json", "md", "txt"]
PAGE = 200


class TranscriptService:
    """Reads page by page, so that a long discussion costs no memory and holds no connection.

    A transcript is made to be handed on: whoever asks for it, it holds no whisper.
    """

    def __init__(self, discussions: DiscussionService, messages: MessageService) -> None:
        self._discussions = discussions
        self._messages = messages

    async def write(self, actor: Actor, discussion: DiscussionRead, form: TranscriptFormat) -> AsyncIterator[str]:
        """The transcript in pieces."""
        return self._json(actor, discussion) if form == "json" else self._text(actor, discussion, form)

    async def _text(self, actor: Actor, discussion: DiscussionRead, form: TranscriptFormat) -> AsyncIterator[str]:
        header, entry = (markdown_header, markdown_entry) if form == "md" else (text_header, text_entry)
        seats = [(seat.name, seat.handle) for seat in discussion.participants]
        yield header(discussion.title, discussion.topic, seats, discussion.status, discussion.end_reason)
        async for message in self._all(actor, discussion.id):
            was_cut = message.status == "interrupted"
            sources = [CitedSource(one.n, one.title, one.page, one.quote) for one in message.citations]
            yield entry(message.name, message.handle, message.turn, message.content, was_cut, sources)

    async def _json(self, actor: Actor, discussion: DiscussionRead) -> AsyncIterator[str]:
        yield '{"discussion":' + discussion.model_dump_json() + ',"messages":['
        separator = ""
        async for message in self._all(actor, discussion.id):
            yield separator + message.model_dump_json()
            separator = ","
        yield "]}"

    async def _all(self, actor: Actor, discussion_id: UUID) -> AsyncIterator[MessageRead]:
        cursor: str | None = None
        while True:
            page = await self._messages.list_public(actor, discussion_id, limit=PAGE, cursor=cursor)
            for message in page.items:
                yield message
            cursor = page.next_cursor
            if cursor is None:
                return
