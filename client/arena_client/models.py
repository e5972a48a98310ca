"""What the server tells: typed, frozen, and named as in the HTTP contract."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict


class AgentParams(TypedDict, total=False):
    """How an agent's model is asked."""

    temperature: float | None
    top_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    max_tokens: int
    seed: int | None
    stop: list[str]


class Limits(TypedDict, total=False):
    """When a discussion ends by itself; None: no such limit."""

    max_turns: int | None
    max_tokens: int | None
    max_cost_usd: float | None
    max_seconds: int | None


class NewParticipant(TypedDict, total=False):
    """A seat to be taken by an agent or by a person."""

    agent_id: str
    user_id: str
    role: str
    model: str
    stand_in_agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace of the caller, and the caller's role in it."""

    id: str
    name: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account."""

    id: str
    email: str
    display_name: str
    is_superuser: bool
    created_at: datetime
    workspaces: list[Workspace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as it is now."""

    id: str
    version: int
    name: str
    handle: str
    kind: str
    persona: str
    model: str | None
    params: AgentParams
    color: str | None
    created_at: datetime
    updated_at: datetime
    tools: list[str] = field(default_factory=list)
    webhook_secret: str | None = None
    knowledge_base_ids: list[str] = field(default_factory=list)
    endpoint_url: str | None = None
    model_fallbacks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeBase:
    """A named set of documents."""

    id: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document; `text` is given by `knowledge.get_document` only. `status` is `queued`, `processing`, `ready` or
    `failed`, and `progress` goes from 0 to 1.
    """

    id: str
    base_id: str
    title: str
    media_type: str
    size_bytes: int
    status: str
    progress: float
    error: str | None
    created_at: datetime
    updated_at: datetime
    text: str | None = None
    source: str | None = None
    url: str | None = None
    file_name: str | None = None
    language: str | None = None
    error_code: str | None = None
    chunk_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A seat of a discussion."""

    id: str
    kind: str
    role: str
    handle: str
    name: str
    agent_id: str | None = None
    agent_version: int | None = None
    user_id: str | None = None
    model: str | None = None
    stands_in_for: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSpeaker:
    """Who has the floor, or gets it next, and why."""

    participant_id: str
    handle: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and their price."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Discussion:
    """A discussion's state; `turn` counts committed turns."""

    id: str
    topic: str
    title: str | None
    status: str
    end_reason: str | None
    turn: int
    last_seq: int
    version: int
    next_speaker: NextSpeaker | None
    participants: list[Participant]
    usage: Usage
    created_at: datetime
    instructions: str | None = None
    document_ids: list[str] = field(default_factory=list)
    turn_policy: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    stop_when: list[Any] = field(default_factory=list)
    seed: int | None = None
    on_turn_failure: str = "pause"
    pausing: bool = False
    deadline: datetime | None = None
    parent: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A place in a document's text, in code points; `end` is the first one after it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """What a `[n]` in a message points to: `quote` is what the document's text holds at `span`."""

    n: int
    document_id: str
    title: str
    span: Span
    quote: str
    chunk_id: str | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledTool:
    """A tool that the author called while it spoke, at `offset` of the content; `summary` begins the result."""

    call_id: str
    tool: str
    ok: bool
    duration_ms: int
    arguments: str = ""
    summary: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody said; `turn` is None outside the speaking order."""

    id: str
    seq: int
    participant_id: str
    handle: str
    name: str
    kind: str
    content: str
    status: str
    created_at: datetime
    turn: int | None = None
    attempt: int | None = None
    reply_to: str | None = None
    visible_to: list[str] | None = None
    citations: list[Citation] = field(default_factory=list)
    dropped_citations: int = 0
    tools: list[CalledTool] = field(default_factory=list)
    parsed: Any = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedMessage:
    """A message as it stands in the log, and the discussion after it."""

    message: Message
    discussion: Discussion
