"""Wire types of what agents remember."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.schemas.base import Change, Moment, Read, Request, storable

LONGEST_MEMORY = 2_000
MemoryText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_MEMORY),
    AfterValidator(storable),
    Field(json_schema_extra={"pattern": r"\S"}),  # more than blanks
]
Importance = Annotated[float, Field(ge=0, le=1, description="0: hardly worth keeping; 1: never to be forgotten.")]


class MemoryCreate(Request):
    """Something the agent is to know from now on."""

    content: MemoryText
    importance: Importance = 0.5


class MemoryUpdate(Change):
    """Only the fields given change."""

    content: MemoryText | None = None
    importance: Importance | None = None


class MemorySourceRead(Read):
    """A discussion that says so, and the `seq`s of the messages in it."""

    discussion_id: UUID
    seqs: list[int]


class MemoryRead(Read):
    """Something an agent remembers, and where it has it from."""

    id: UUID
    agent_id: UUID
    content: str
    importance: float
    source: Literal["discussion", "manual"] = Field(description="Heard in a discussion, or told by `created_by`.")
    sources: list[MemorySourceRead] = Field(description="Empty once these discussions are deleted.")
    created_by: UUID | None = Field(description="Who wrote it, or reworded it last.")
    recalled_at: Moment | None = Field(description="When it last entered a prompt.")
    recall_count: int
    created_at: Moment
    updated_at: Moment


class MemorySearch(Request):
    """What is looked for, in the words one would ask the agent in."""

    query: MemoryText
    k: int = Field(10, ge=1, le=100, description="Most memories to find.")


class MemoryFound(MemoryRead):
    """A memory, and how much it comes to mind: by relevance, importance and recency (`score`, 0 to 1)."""

    score: float
    relevance: float = Field(description="Cosine similarity to the query, -1 to 1.")


class MemoriesFound(Read):
    """First what comes to mind first."""

    items: list[MemoryFound]
