"""Wire types of agents."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    StringConstraints,
    UrlConstraints,
    model_validator,
)

from app.domain.handles import HANDLE_PATTERN
from app.schemas.base import Change, Line, Moment, Read, Request, Text, storable

AgentKind = Literal["llm", "external"]
Handle = Annotated[str, StringConstraints(pattern=HANDLE_PATTERN)]
Persona = Annotated[Text, StringConstraints(max_length=32_000)]
# On `Text` the pattern would be left out of the OpenAPI document.
ModelName = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s/]+( [^\s/]+)*/\S+$"), AfterValidator(storable)
]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
LONGEST_URL = 2048


def _short_once_encoded(url: AnyHttpUrl) -> AnyHttpUrl:
    """What is asked for is the URL in its encoded form, where a letter outside ASCII takes six characters and more."""
    if len(str(url)) > LONGEST_URL:
        raise ValueError(f"a URL has at most {LONGEST_URL} characters in its encoded form")
    return url


def _storable(url: Any) -> Any:
    # A URL's parser trims control characters, and would take what is refused everywhere else.
    return storable(url) if isinstance(url, str) else url


EndpointUrl = Annotated[
    AnyHttpUrl,
    UrlConstraints(max_length=LONGEST_URL),
    BeforeValidator(_storable),
    AfterValidator(_short_once_encoded),
]

ResponseSchema = Annotated[dict[str, Any], Field(description="JSON Schema (Draft 2020-12) that answers have to fit.")]


class AgentParams(Request):
    """How the model is asked; null leaves a value to the provider."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: int = Field(400, ge=1, le=32_000, description="Longest reply, in tokens.")
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    stop: list[Annotated[Text, StringConstraints(min_length=1, max_length=100)]] = Field(
        default_factory=list, max_length=4
    )


class AgentMemory(Request):
    """What the agent keeps between discussions."""

    long_term: bool = False


class AgentConfig(Request):
    """What a version of an agent consists of, besides its name, handle and kind."""

    persona: Persona = ""
    model: ModelName | None = None
    model_fallbacks: list[ModelName] = Field(
        default_factory=list, max_length=5, description="Asked in this order when the model fails."
    )
    params: AgentParams = Field(default_factory=AgentParams)
    tools: list[Line] = Field(default_factory=list, max_length=50)
    knowledge_base_ids: list[UUID] = Field(default_factory=list, max_length=50)
    memory: AgentMemory = Field(default_factory=AgentMemory)
    color: Color | None = None
    endpoint_url: AnyHttpUrl | None = None
    response_schema: ResponseSchema | None = None


def _check_kind(kind: AgentKind, config: AgentConfig) -> None:
    if kind == "llm" and config.model is None:
        raise ValueError("an llm agent needs a model, such as local/smollm2-135m")
    if config.model_fallbacks and config.model is None:
        raise ValueError("an agent without a model has no model_fallbacks")
    if kind == "llm" and config.endpoint_url is not None:
        raise ValueError("only an external agent has an endpoint_url")
    if kind != "llm" and config.response_schema is not None:
        raise ValueError("only an llm agent has a response_schema")
    if kind == "external" and config.endpoint_url is None:
        raise ValueError("an external agent needs an endpoint_url")


class AgentCreate(AgentConfig):
    """A new agent; `handle` is derived from the name when absent."""

    name: Line
    handle: Handle | None = None
    kind: AgentKind = "llm"
    endpoint_url: EndpointUrl | None = None

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        _check_kind(self.kind, self)
        return self

    def config(self) -> AgentConfig:
        return AgentConfig(**{name: getattr(self, name) for name in AgentConfig.model_fields})


class AgentUpdate(Change):
    """Only the fields given change; `params` and `memory` are replaced whole."""

    may_be_null = frozenset({"color", "response_schema"})

    name: Line | None = None
    handle: Handle | None = None
    persona: Persona | None = None
    model: ModelName | None = None
    model_fallbacks: Annotated[list[ModelName], Field(max_length=5)] | None = None
    params: AgentParams | None = None
    tools: Annotated[list[Line], Field(max_length=50)] | None = None
    knowledge_base_ids: Annotated[list[UUID], Field(max_length=50)] | None = None
    memory: AgentMemory | None = None
    color: Color | None = None
    endpoint_url: EndpointUrl | None = None
    response_schema: ResponseSchema | None = None

    def apply_to(self, kind: AgentKind, config: AgentConfig) -> AgentConfig:
        """The new config, or ValueError if it does not fit the agent's kind."""
        changed = {name: getattr(self, name) for name in self.model_fields_set if name in AgentConfig.model_fields}
        updated = config.model_copy(update=changed)
        _check_kind(kind, updated)
        return updated


class AgentRead(Read):
    """An agent, now or at one of its versions."""

    id: UUID
    version: int
    name: str
    handle: str
    kind: AgentKind
    persona: str
    model: str | None
    model_fallbacks: list[str]
    params: AgentParams
    tools: list[str]
    knowledge_base_ids: list[UUID]
    memory: AgentMemory
    color: str | None
    endpoint_url: str | None
    response_schema: dict[str, Any] | None
    webhook_secret: str | None = Field(
        None, description="Signs the webhooks of an external agent; shown when it is created, and never again."
    )
    created_at: Moment
    updated_at: Moment


class AgentPreview(Request):
    """A message the agent answers once; nothing is stored."""

    message: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32_000), AfterValidator(storable)
    ]
