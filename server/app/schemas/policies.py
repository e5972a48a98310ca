"""Wire types of turn policies and of the ready formats."""

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from app.domain.policies import POLICIES
from app.domain.policies.bidding import MOST as HIGHEST_BID
from app.schemas.base import Line, Read, Request, Text

MOST_PLUGIN_BYTES = 16_384
MOST_ROUNDS = 100
PLUGIN = "plugin"
Reference = Annotated[
    Text,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=64),
    Field(description="A participant: its handle with or without @, its agent's id, or its own id."),
]
Rounds = Annotated[int, Field(ge=1, le=MOST_ROUNDS)]
PhaseText = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class RoundRobinConfig(Request):
    """Everybody in turn, in seating order."""

    type: Literal["round_robin"] = "round_robin"


class RandomConfig(Request):
    """Somebody by chance; who has no weight has weight 1. The discussion's `seed` makes the draw repeatable."""

    type: Literal["random"]
    weights: dict[Reference, Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]] = Field(
        default_factory=dict, max_length=50
    )


def _named(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class MentionConfig(Request):
    """Whoever was addressed with @handle last, else whom the fallback chooses."""

    type: Literal["mention"]
    fallback: Annotated[RoundRobinConfig | RandomConfig, Field(discriminator="type"), BeforeValidator(_named)] = (
        RoundRobinConfig()
    )


class ModeratorConfig(Request):
    """An agent chooses: the one that is named, else the first with the role `moderator`."""

    type: Literal["moderator"]
    moderator: Reference | None = None
    moderator_speaks: bool = Field(False, description="Whether the moderator may choose itself.")
    allow_repeat: bool = Field(False, description="Whether the last speaker may be chosen again.")


class BiddingConfig(Request):
    """The agent that wants the floor most."""

    type: Literal["bidding"]
    default_bid: float = Field(
        0, ge=0, le=HIGHEST_BID, allow_inf_nan=False, description="What people and external agents bid."
    )


class ManualConfig(Request):
    """A human gives the floor for every turn: `POST /discussions/{id}/floor`."""

    type: Literal["manual"]


class PhaseConfig(Request):
    """A part of a script; each of its speakers has the floor once a round.

    `all` are all in the speaking order, `others` all but moderators, `moderator` those with that role; `except` takes
    some out of these.
    """

    name: Line | None = None
    speakers: Annotated[
        Annotated[Reference, Tag("one")]
        | Annotated[list[Reference], Field(min_length=1, max_length=100), Tag("several")],
        Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
        Field(description="`all`, `others`, `moderator`, or one or several participants."),
    ]
    excluded: list[Reference] = Field(default_factory=list, alias="except", max_length=50)
    rounds: Rounds = 1
    instruction: PhaseText | None = Field(None, description="What its speakers are told.")
    blind: bool = Field(False, description="Its speakers do not see what the others say in it.")
    anonymous: bool = Field(False, description="Its speakers see the others under letters instead of their handles.")


FormatName = Literal["debate", "brainstorm", "interview", "council"]


class ScriptedConfig(Request):
    """Phases one after another; the discussion ends after the last. Either one's own or those of a ready format."""

    type: Literal["scripted"]
    phases: Annotated[list[PhaseConfig], Field(min_length=1, max_length=50)] | None = None
    format: FormatName | None = None
    rounds: Rounds | None = Field(None, description="Rounds of the format's repeated phase.")
    seats: dict[Line, Reference | Annotated[list[Reference], Field(max_length=50)]] | None = Field(
        None, description="Who takes which role of the format; the rest as the format says.", max_length=10
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.phases is None) == (self.format is None):
            raise ValueError("a script is either its phases or the name of a format")
        if self.format is None and (self.rounds is not None or self.seats is not None):
            raise ValueError("rounds and seats belong to a format; a phase has rounds of its own")
        return self


class PluginConfig(BaseModel):
    """A policy of an installed package, by the name it registered; all other keys are for the package."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")

    @model_validator(mode="after")
    def _can_be_stored(self) -> Self:
        try:
            written = orjson.dumps(self.model_extra)
        except TypeError as error:
            raise ValueError(f"the configuration cannot be stored: {error}") from None
        if len(written) > MOST_PLUGIN_BYTES:
            raise ValueError(f"the configuration is larger than {MOST_PLUGIN_BYTES} bytes")
        if b"\\u0000" in written:
            raise ValueError("the configuration must not contain the NUL character")
        if orjson.loads(written) != self.model_extra:
            raise ValueError("the configuration holds numbers that JSON does not have")
        return self


def _tag(value: Any) -> str:
    kind = value.get("type", "round_robin") if isinstance(value, dict) else getattr(value, "type", PLUGIN)
    return kind if isinstance(kind, str) and kind in POLICIES else PLUGIN


TurnPolicyConfig = Annotated[
    Annotated[RoundRobinConfig, Tag("round_robin")]
    | Annotated[RandomConfig, Tag("random")]
    | Annotated[MentionConfig, Tag("mention")]
    | Annotated[ModeratorConfig, Tag("moderator")]
    | Annotated[BiddingConfig, Tag("bidding")]
    | Annotated[ScriptedConfig, Tag("scripted")]
    | Annotated[ManualConfig, Tag("manual")]
    | Annotated[PluginConfig, Tag(PLUGIN)],
    Discriminator(_tag),
]
"""Who speaks next."""


def policy_data(config: BaseModel) -> dict[str, Any]:
    """The configuration as it is kept and shown; what a plugin was given stays as it was given."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=not isinstance(config, PluginConfig))


class RoleRead(Read):
    """A part in a format. `max` null: as many as there are. Who is named in `seats` takes it, else as `default` says:
    `lead` goes to a moderator, then to the first seat if `min` is 1; `rest` to everybody else, turn by turn.
    """

    name: str
    title: str
    description: str
    min: int
    max: int | None
    default: Literal["lead", "rest"]


class PhaseRead(Read):
    """A phase of a format; its speakers are roles. `instructions` by role stand in the place of `instruction`."""

    name: str
    speakers: list[str]
    rounds: int
    repeated: bool = Field(description="Whether `rounds` of the policy sets its rounds.")
    instruction: str | None
    instructions: dict[str, str]
    blind: bool
    anonymous: bool


class SeatsRead(Read):
    """How many participants a format needs and may have."""

    min: int
    max: int


class FormatRead(Read):
    """A ready script; `turn_policy` is what to open a discussion with, `rounds` and `seats` may be added to it."""

    name: str
    title: str
    description: str
    seats: SeatsRead
    roles: list[RoleRead]
    phases: list[PhaseRead]
    turn_policy: dict[str, Any]


class FloorGive(Request):
    """Who gets the floor."""

    participant: Reference
