"""The port every language model is spoken to through, and the ways it fails."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from app.core.errors import DependencyFailed
from app.domain.prompt import ChatMessage, ToolCall
from app.domain.usage import NOTHING, Used


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that a model may ask for; `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A prompt and how to answer it; None leaves a parameter to the provider."""

    model: str
    messages: Sequence[ChatMessage]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: Sequence[str] = field(default_factory=tuple)
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_schema: dict[str, Any] | None = None  # JSON Schema; a provider that cannot keep to it may refuse
    tools: Sequence[ToolSpec] = field(default_factory=tuple)  # a provider that knows none may refuse
    may_call_tools: bool = True  # False is a wish too: some providers have no word for it


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append; never empty. One delta may carry several tokens that arrived together."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last item of every complete stream; token counts are None if the provider did not tell.

    `tool_calls` are what the model wants called before it goes on, in its order; none unless tools were offered.
    """

    finish_reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tool_calls: Sequence[ToolCall] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class ModelTimeouts:
    """How long a call may take to connect, to begin, to go on, and altogether."""

    connect_seconds: float = 10
    first_token_seconds: float = 120
    idle_seconds: float = 30
    total_seconds: float = 600


class ModelError(DependencyFailed):
    """A model call failed; `retryable` says whether the same call may succeed later.

    `retry_after_seconds` says when, if it is known: from the provider's Retry-After, or from us. `used` is what the
    call took until then, told by whoever made it.
    """

    code: ClassVar[str] = "model_failed"
    retryable: ClassVar[bool] = True

    def __init__(self, detail: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
        self.used: Used = NOTHING


def used_until(error: Exception | None) -> Used:
    """What the call took that failed with it, and is not charged yet."""
    return getattr(error, "used", NOTHING)


class ModelUnauthorized(ModelError):
    """401 or 403: the provider refuses the key."""

    code = "model_unauthorized"
    retryable = False


class ModelNotFound(ModelError):
    """404: the provider has no such model or endpoint."""

    code = "model_not_found"
    retryable = False


class ModelRejected(ModelError):
    """Another 4xx: the provider refuses this very request."""

    code = "model_rejected"
    retryable = False


class ModelContextExceeded(ModelRejected):
    """The prompt and the reply do not fit into the model's context: only a shorter prompt may succeed."""

    code = "model_context_exceeded"


class ModelRateLimited(ModelError):
    """429."""

    code = "model_rate_limited"


class ModelBusy(ModelRateLimited):
    """Our own cap on the provider left no room for the call as long as it could wait."""

    code = "model_busy"


class ModelUnavailable(ModelError):
    """5xx, or no connection at all."""

    code = "model_unavailable"


class ModelUnreachable(ModelUnavailable):
    """No connection to the provider, so that none of its models can be called."""

    code = "model_unreachable"


class ModelAddressForbidden(ModelError):
    """The provider's URL leads to an address that a workspace may not have this server reach."""

    code = "model_address_forbidden"
    retryable = False


class ModelCircuitOpen(ModelUnavailable):
    """The calls before this one failed, so it was not made; `retry_after_seconds` says when one will be."""

    code = "model_circuit_open"


class ModelMalformed(ModelError):
    """The reply is not what the protocol says."""

    code = "model_malformed"


class ModelDisconnected(ModelError):
    """The stream ended before its end."""

    code = "model_disconnected"


class ModelTimedOut(ModelError):
    """Silent too long: `phase` is `connect`, `first_token`, `idle` or `total`."""

    code = "model_timed_out"

    def __init__(
        self,
        detail: str,
        *,
        phase: Literal["connect", "first_token", "idle", "total"],
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)
        self.phase = phase


on_begin: ContextVar[Callable[[], None] | None] = ContextVar("on_begin", default=None)
"""What a caller wants to be told when its call begins, which may have waited for room until then."""


class ChatModel(Protocol):
    """A provider's chat endpoint. Implementations pass `tests/contracts/chat_model.py`."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Yield the reply as it arrives, `Finished` last; raise a `ModelError` otherwise.

        Closing the generator early ends the call at the provider.
        """
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...
