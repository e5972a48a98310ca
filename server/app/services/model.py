"""A model that can be asked, and where it comes from."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from genai_prices import Usage as PricedUsage
from genai_prices.data_snapshot import get_snapshot

from app.core.errors import Invalid, located
from app.services.providers.base import ChatModel
from app.services.refusals import Refusals, Wish

TIER_STEP_TOKENS = 1000
"""Some models charge more for every token of a long prompt: prices are looked up for prompts of about its length."""
PRICED_AS = {"anthropic": "anthropic", "google": "google", "bedrock": "aws", "mistral": "mistral", "groq": "groq"}
"""What genai-prices calls the provider of a kind; one of another kind is known by its address."""


class UnknownModel(Invalid):
    """No provider of that name, or it has no such model."""

    code = "unknown_model"


@dataclass(frozen=True, slots=True)
class PriceList:
    """How a provider's models are found in genai-prices: by its name there, or by its address."""

    name: str | None = None
    address: str | None = None

    def per_token(self, wire_name: str, prompt_tokens: int) -> tuple[float, float] | None:
        """US dollars for a token of a prompt of about that length, and for one of the reply; None if not known."""
        return _per_token(self, wire_name, prompt_tokens // TIER_STEP_TOKENS)

    def context_tokens(self, wire_name: str) -> int | None:
        """The model's context window, None if not known."""
        return _context_tokens(self, wire_name)

    def wire_names(self) -> list[str]:
        """The models that have a price and are still offered; none where the provider is not known."""
        try:
            provider = get_snapshot().find_provider(None, self.name, self.address)
        except LookupError:
            return []
        return [model.id for model in provider.models if not model.deprecated]


@lru_cache(maxsize=4096)
def _per_token(prices: PriceList, wire_name: str, steps: int) -> tuple[float, float] | None:
    prompt_tokens, reply_tokens = steps * TIER_STEP_TOKENS + 1, 1_000_000
    used = PricedUsage(input_tokens=prompt_tokens, output_tokens=reply_tokens)
    try:
        price = get_snapshot().calc(used, wire_name, prices.name, prices.address, None)
    except LookupError:
        return None
    return float(price.input_price) / prompt_tokens, float(price.output_price) / reply_tokens


@lru_cache(maxsize=4096)
def _context_tokens(prices: PriceList, wire_name: str) -> int | None:
    try:
        _, model = get_snapshot().find_provider_model(wire_name, None, prices.name, prices.address)
    except LookupError:
        return None
    return model.context_window


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to be asked: its client, its name at the provider, its context window in tokens.

    `prices` is None where a call costs nothing. `refusals` are shared by all models of the provider. `version` changes
    whenever its provider or the way to it does.
    """

    name: str
    client: ChatModel
    wire_name: str
    context_tokens: int
    prices: PriceList | None
    refusals: Refusals = field(default_factory=Refusals, compare=False, repr=False)
    version: str = ""

    def refuses(self, wish: Wish, value: object) -> bool:
        """Whether it was lately seen to refuse that value."""
        return self.refusals.has(self.wire_name, wish, value)

    def note_refusal(self, wish: Wish, value: object) -> None:
        self.refusals.note(self.wire_name, wish, value)

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of a call in US dollars, 0.0 where none is known."""
        if self.prices is None:
            return 0.0
        prices = self.prices.per_token(self.wire_name, prompt_tokens)
        return prompt_tokens * prices[0] + completion_tokens * prices[1] if prices else 0.0


ListNames = Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A provider of models. Its `name` is what its models' names begin with; `kind` as providers have it, or `local`.

    `context_tokens` are those of a model whose own are not known; `only` is the model's name where there is just one;
    `list_names` asks the provider which it offers, None where it tells nobody.
    """

    name: str
    kind: str
    client: ChatModel
    context_tokens: int
    prices: PriceList | None
    version: str = ""
    only: str | None = None
    list_names: ListNames | None = None
    knows_contexts: bool = False
    refusals: Refusals = field(default_factory=Refusals)

    def model(self, wire_name: str) -> Model:
        return Model(
            f"{self.name}/{wire_name}",
            self.client,
            wire_name,
            self.context_of(wire_name),
            self.prices,
            self.refusals,
            self.version,
        )

    def context_of(self, wire_name: str) -> int:
        known = self.prices.context_tokens(wire_name) if self.knows_contexts and self.prices else None
        return known or self.context_tokens


class Models(Protocol):
    """What gives models by their names."""

    @property
    def first_token_seconds(self) -> float:
        """After which a silent model is given up."""

    def get(self, name: str) -> Model:
        """The model; raise `UnknownModel` with the mend in the sentence."""


def check_model(models: Models, name: str | None, *loc: str | int) -> None:
    """Raise `UnknownModel` if a request asks at `loc` for a model that there is not."""
    if name is not None:
        with located(*loc):
            models.get(name)
