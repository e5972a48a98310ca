"""Wire types of discussions."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.domain.discussion import EndReason, Status, TurnFailurePolicy
from app.domain.limits import MAX_TURNS
from app.schemas.agent import ModelName
from app.schemas.base import Change, Line, Moment, Read, Request, Text, storable
from app.schemas.policies import RoundRobinConfig, TurnPolicyConfig
from app.schemas.stop_conditions import StopConditions

MAX_PARTICIPANTS = 50
Topic = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000), AfterValidator(storable)
]
Instructions = Annotated[Text, StringConstraints(max_length=8_000)]
TurnCount = Annotated[int, Field(ge=1, le=MAX_TURNS)]


class ParticipantCreate(Request):
    """A seat for an agent or for a person; exactly one of the two ids."""

    agent_id: UUID | None = None
    user_id: UUID | None = None
    role: Literal["speaker", "moderator"] = "speaker"
    model: ModelName | None = Field(None, description="In this discussion, the agent speaks with another model.")
    stand_in_agent_id: UUID | None = Field(
        None,
        description="An llm agent that takes the turns that a person or an external agent lets pass. Left out: whoever "
        "comes back has the one they had; null: none.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.agent_id is None) == (self.user_id is None):
            raise ValueError("a participant is either an agent_id or a user_id")
        if self.model is not None and self.agent_id is None:
            raise ValueError("only an agent has a model")
        return self


class LimitsConfig(Request):
    """When the discussion ends by itself; null: no such limit, but 10,000 turns always end it.

    A `scripted` policy comes to its own end: unless given, `max_turns` is null there.

    Tokens count prompts and replies; seconds run from the start.
    """

    max_turns: TurnCount | None = 12
    max_tokens: Annotated[int, Field(ge=1, le=10**12)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, le=10**6)] | None = None
    max_seconds: Annotated[int, Field(ge=1, le=10**8)] | None = None


class WaitingConfig(Request):
    """How long those outside may take who have the floor, and what follows when they do not answer.

    Null seconds: as long as they like, or 300 s for the last turn past `max_seconds`. `skip` passes their turn on;
    `stand_in`, or null, lets the stand-in agent take it that their seat has by then, and passes it on where there is
    none. The same follows at once when an external agent cannot be told that it has the floor.
    """

    human_seconds: Annotated[float, Field(gt=0, le=10**7)] | None = 86_400
    external_seconds: Annotated[float, Field(gt=0, le=10**7)] | None = 300
    on_deadline: Literal["skip", "stand_in"] | None = None


class DiscussionCreate(Request):
    """A new discussion; with `start` false it stays a draft."""

    topic: Topic
    title: Line | None = None
    instructions: Instructions | None = None
    document_ids: list[UUID] = Field(default_factory=list, max_length=20)
    participants: list[ParticipantCreate] = Field(min_length=1, max_length=MAX_PARTICIPANTS)
    turn_policy: TurnPolicyConfig = Field(default_factory=RoundRobinConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    stop_when: StopConditions = Field(default_factory=list)
    priority: Literal["interactive", "background"] = "interactive"
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    on_turn_failure: TurnFailurePolicy = Field(
        TurnFailurePolicy.PAUSE, description="What follows a turn that could not be taken after its last attempt."
    )
    waiting: WaitingConfig = Field(default_factory=WaitingConfig)
    start: bool = True


class NextSpeakerRead(Read):
    """Who has the floor, or gets it next."""

    participant_id: UUID
    handle: str
    reason: str


class ParticipantRead(Read):
    """A seat. `kind` is `llm`, `external` or `human`; `guest` and `stand_in` are outside the speaking order."""

    id: UUID
    kind: Literal["llm", "external", "human"]
    role: Literal["speaker", "moderator", "guest", "stand_in"]
    agent_id: UUID | None
    agent_version: int | None
    user_id: UUID | None
    handle: str
    name: str
    model: str | None = Field(None, description="Asked instead of the agent's own; null: its own.")
    stands_in_for: UUID | None = None


class Usage(Read):
    """Tokens and their price."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class ParentRead(Read):
    """What a fork began with: the other discussion's log up to `seq`. `id` is null when that one was deleted."""

    id: UUID | None
    seq: int


class DiscussionRead(Read):
    """A discussion's present state; `turn` counts committed turns."""

    id: UUID
    topic: str
    title: str | None
    instructions: str | None
    document_ids: list[UUID]
    turn_policy: dict[str, Any]
    limits: LimitsConfig
    stop_when: list[Any]
    priority: str
    seed: int | None
    on_turn_failure: TurnFailurePolicy
    waiting: WaitingConfig
    status: Status
    pausing: bool = Field(False, description="A pause was asked for and comes when the speaker has finished.")
    deadline: Moment | None = Field(None, description="Until when whoever has the floor may answer.")
    end_reason: EndReason | None
    turn: int
    last_seq: int
    version: int
    next_speaker: NextSpeakerRead | None
    participants: list[ParticipantRead]
    usage: Usage
    parent: ParentRead | None = None
    created_at: Moment
    updated_at: Moment


class DiscussionChanges(Request):
    """What can be made other than it is in a discussion, or in a fork of it."""

    topic: Topic | None = None
    title: Line | None = None
    instructions: Instructions | None = None
    turn_policy: TurnPolicyConfig | None = None
    limits: LimitsConfig | None = None
    stop_when: StopConditions | None = None
    on_turn_failure: TurnFailurePolicy | None = None
    waiting: WaitingConfig | None = None


class DiscussionUpdate(Change, DiscussionChanges):
    """Only the fields given change, also those inside `limits` and `waiting`.

    The title changes at any time, the rest while it is a draft or paused.
    """

    may_be_null = frozenset({"title", "instructions"})


class DiscussionFork(DiscussionChanges):
    """Another discussion that begins with this one's log up to `at_seq` (default: all of it; 0: none, a rerun).

    What is not given is as in the parent, but who is no member of the workspace any more is left out; `model` is what
    all its agents speak with.
    """

    at_seq: Annotated[int, Field(ge=0, le=10**9)] | None = None
    participants: Annotated[list[ParticipantCreate], Field(min_length=1, max_length=MAX_PARTICIPANTS)] | None = None
    model: ModelName | None = None
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    start: bool = True
