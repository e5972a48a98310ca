"""Wire types of models and of their providers."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Discriminator, Field, SecretStr, StringConstraints, Tag, model_validator

from app.domain.provider_names import RESERVED
from app.schemas.agent import AgentParams, EndpointUrl, ModelName, ResponseSchema
from app.schemas.base import Change, Moment, Page, Read, Request, on_one_line, storable

ProviderKind = Literal["openai_compatible", "anthropic", "google", "bedrock", "mistral", "groq"]


def printable(key: SecretStr) -> SecretStr:
    # It is sent in a header, where a line break would begin another one.
    text = key.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII without blanks around it")
    return key


ApiKey = Annotated[SecretStr, Field(min_length=1, max_length=4_096), AfterValidator(printable)]


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"must not be {', '.join(sorted(RESERVED))}, which are the installation's own")
    return name


ProviderName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[^\s/]+( [^\s/]+)*$"),
    AfterValidator(storable),
    AfterValidator(on_one_line),
    AfterValidator(_not_reserved),
]


class ProviderCreate(Request):
    """A new provider; its models are `<name>/<model>`, and its name is unique in the workspace.

    Only an OpenAI-compatible one may want no key.
    """

    name: ProviderName
    kind: ProviderKind
    base_url: EndpointUrl | None = Field(None, description="Of the API; needed if it is OpenAI-compatible.")
    api_key: ApiKey | None = Field(None, description="Kept sealed, and never shown again.")

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if self.kind == "openai_compatible" and self.base_url is None:
            raise ValueError("an openai_compatible provider needs a base_url")
        if self.kind != "openai_compatible" and self.api_key is None:
            raise ValueError(f"a provider of the kind {self.kind} needs an api_key")
        return self


class ProviderUpdate(Change):
    """Only the fields given change; the kind stays. Another `base_url` wants the `api_key` again."""

    may_be_null = frozenset({"base_url", "api_key"})

    name: ProviderName | None = None
    base_url: EndpointUrl | None = None
    api_key: ApiKey | None = None


class ProviderRead(Read):
    """A provider, without its key."""

    id: UUID
    name: str
    kind: ProviderKind
    base_url: str | None
    has_key: bool
    key_hint: str | None = Field(description="The last four characters of a key of 20 or more.")
    created_at: Moment
    updated_at: Moment


class ProviderTrial(Read):
    """That a provider answers and takes the key."""

    ok: Literal[True]
    latency_ms: float
    models: list[str] = Field(description="Some of the models that it offers, by their names here.")


class ModelPrices(Read):
    """US dollars for a million tokens, of a short prompt."""

    input_usd_per_million: float
    output_usd_per_million: float


class ModelCapabilities(Read):
    """What a model can be asked for, as far as is known."""

    chat: bool
    embeddings: bool
    tools: bool
    response_schema: bool
    streaming: bool


class ModelRead(Read):
    """A model, by the name that agents and requests give."""

    id: str
    provider: str
    context_tokens: int | None = Field(description="Of prompt and reply together; assumed where it is not known.")
    prices: ModelPrices | None = Field(description="Null where they are not known.")
    capabilities: ModelCapabilities


class UnavailableProvider(Read):
    """A provider whose models are not in the list, since it does not say which it has."""

    provider: str
    code: str
    detail: str


class ModelPage(Page[ModelRead]):
    """A page of models, by name."""

    unavailable: list[UnavailableProvider]


MOST_MESSAGES = 500
MOST_MESSAGE_CHARACTERS = 200_000


class ChatMessageCreate(Request):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[
        str, StringConstraints(min_length=1, max_length=MOST_MESSAGE_CHARACTERS), AfterValidator(storable)
    ]


class ChatCreate(Request):
    """What a model is asked."""

    model: ModelName
    messages: list[ChatMessageCreate] = Field(min_length=1, max_length=MOST_MESSAGES)
    params: AgentParams = Field(default_factory=AgentParams)
    stream: bool = Field(False, description="Whether the reply comes as server-sent events.")
    response_schema: ResponseSchema | None = None
    cache: bool = Field(
        False, description="Whether an answer to the same request may be given again; wants temperature 0 and a seed."
    )

    @model_validator(mode="after")
    def _is_repeatable(self) -> Self:
        if self.cache and (self.params.temperature != 0 or self.params.seed is None):
            raise ValueError("cache wants params with a temperature of 0 and a seed")
        return self


class ChatUsage(Read):
    """What all calls for an answer took; nothing, where it was kept."""

    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


class ChatRead(Read):
    """A whole answer."""

    id: UUID
    model: str
    content: str
    parsed: Any | None = Field(description="The value that fits the `response_schema`; null without one.")
    finish_reason: str
    usage: ChatUsage
    cached: bool


MOST_INPUTS = 256
MOST_INPUT_CHARACTERS = 8_000
Input = Annotated[str, StringConstraints(min_length=1, max_length=MOST_INPUT_CHARACTERS), AfterValidator(storable)]
_Inputs = Annotated[list[Input], Field(min_length=1, max_length=MOST_INPUTS)]


def _kind_of_input(value: object) -> str:
    return "texts" if isinstance(value, list) else "text"


class EmbeddingsCreate(Request):
    """Texts to turn into vectors."""

    model: ModelName = "local/wordllama-256"
    input: Annotated[Annotated[Input, Tag("text")] | Annotated[_Inputs, Tag("texts")], Discriminator(_kind_of_input)]
    dimensions: Annotated[int, Field(ge=1, le=16_000)] | None = Field(
        None, description="Length of the vectors, of models that can be asked for one."
    )

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class EmbeddingRead(Read):
    """The vector of one text, of length 1."""

    index: int = Field(description="Which of the texts, counted from 0.")
    embedding: list[float]


class EmbeddingUsage(Read):
    """What the vectors took."""

    prompt_tokens: int = Field(description="Estimated where the provider does not tell.")


class EmbeddingsRead(Read):
    """A vector for each text, in their order."""

    model: str
    dimensions: int
    data: list[EmbeddingRead]
    usage: EmbeddingUsage
