"""Wire types of messages and of the log."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.schemas.base import Moment, Read, Request, Text, storable
from app.schemas.discussion import MAX_PARTICIPANTS, DiscussionRead, Usage

MAX_CONTENT = 64_000
TurnToken = Annotated[Text, StringConstraints(min_length=1, max_length=400)]
Content = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_CONTENT, pattern=r"\S"), AfterValidator(storable)
]


class MessageCreate(Request):
    """What somebody says; `participant_id` may name only the caller's own seat, or the one the turn token is for.

    `visible_to` makes it a whisper to those participants, or a private note where it names only the author.
    """

    content: Content
    participant_id: UUID | None = None
    reply_to: UUID | None = None
    visible_to: list[UUID] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PARTICIPANTS,
        description="Participants at the table who may read it, besides the author; null: everybody.",
    )
    turn_token: TurnToken | None = Field(
        None, description="From the webhook: an external agent speaks with it once, in the turn that it is for."
    )


class SpanRead(Read):
    """A place in a document's text, in code points; `end` is the first one after it."""

    start: int
    end: int


class CitationRead(Read):
    """What a `[n]` in a message points to: `quote` is what the document's text holds at `span`.

    The document may have been deleted or replaced since. `chunk_id` is null where the agent was shown the document
    whole, `page` (counted from 1) where it has no pages.
    """

    n: int
    document_id: UUID
    chunk_id: UUID | None
    title: str
    page: int | None
    span: SpanRead
    quote: str


class ToolCallRead(Read):
    """A tool that the author called while it spoke.

    `offset` is the place in the content at which it was called, in code points. `arguments` and `summary`, the
    beginning of the result, are cut. `ok` is false where the tool failed, or the author was cut off meanwhile.
    """

    call_id: str
    tool: str
    arguments: str
    ok: bool
    duration_ms: int
    summary: str
    offset: int


class MessageRead(Read):
    """A message at its place in the log; `turn` is null outside the speaking order."""

    id: UUID
    seq: int
    turn: int | None
    attempt: int | None
    participant_id: UUID
    handle: str
    name: str
    kind: Literal["llm", "external", "human"]
    content: str
    status: Literal["complete", "interrupted"]
    reply_to: UUID | None
    visible_to: list[UUID] | None = Field(None, description="Whom a whisper is for; null: everybody.")
    citations: list[CitationRead] = Field(default_factory=list)
    dropped_citations: int = Field(0, description="How many `[n]` in it point to nothing that its author was shown.")
    tools: list[ToolCallRead] = Field(default_factory=list)
    parsed: Any = Field(
        None, description="The content as its agent's `response_schema` has it; null where it does not fit, or none is."
    )
    usage: Usage | None
    created_at: Moment


class MessagePosted(Read):
    """The message as it stands in the log, and the discussion after it."""

    message: MessageRead
    discussion: DiscussionRead


class EventRead(Read):
    """A durable event; somebody else's whisper is a `message.withheld`, with its `turn` if it took one."""

    seq: int
    type: str
    created_at: Moment
    data: dict[str, Any]


class EventPage(Read):
    """Events after a position; `last_seq` is the log's last one, whether or not it is on this page."""

    items: list[EventRead]
    last_seq: int
