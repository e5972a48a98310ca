"""Which models there are, and what is known of each: `<provider>/<name>`."""

from dataclasses import dataclass
from functools import lru_cache

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from app.config import ModelSettings
from app.core.errors import Invalid
from app.core.local_model import CONTEXT_TOKENS, MODEL_NAME
from app.services.providers.base import ChatModel, ModelTimeouts
from app.services.providers.openai_compatible import OpenAICompatibleModel


class UnknownModel(Invalid):
    """No provider of that name, or it has no such model."""

    code = "unknown_model"


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to be asked: its client, its name at the provider, its context window in tokens."""

    name: str
    client: ChatModel
    wire_name: str
    context_tokens: int
    base_url: str

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of a call in US dollars, 0.0 where none is known."""
        prices = _prices_per_token(self.wire_name, self.base_url)
        return prompt_tokens * prices[0] + completion_tokens * prices[1] if prices else 0.0


@lru_cache(maxsize=256)
def _prices_per_token(wire_name: str, base_url: str) -> tuple[float, float] | None:
    million = 1_000_000
    try:
        price = calc_price(
            PricedUsage(input_tokens=million, output_tokens=million), wire_name, provider_api_url=base_url
        )
    except LookupError:
        return None
    return float(price.input_price) / million, float(price.output_price) / million


class ModelCatalog:
    """The operator's models: the local one and an OpenAI-compatible endpoint."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        timeouts = ModelTimeouts(
            connect_seconds=settings.model_connect_seconds,
            first_token_seconds=settings.model_first_token_seconds,
            idle_seconds=settings.model_idle_seconds,
            total_seconds=settings.model_total_seconds,
        )
        self._clients: dict[str, OpenAICompatibleModel] = {}
        if settings.local_model_url:
            key = settings.local_model_key.get_secret_value() if settings.local_model_key else None
            self._clients["local"] = OpenAICompatibleModel(settings.local_model_url, key, timeouts)
        if settings.openai_base_url:
            key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
            self._clients["openai"] = OpenAICompatibleModel(settings.openai_base_url, key, timeouts)

    def get(self, name: str) -> Model:
        """The model; raise `UnknownModel` with the mend in the sentence."""
        provider, _, wire_name = name.partition("/")
        client = self._clients.get(provider)
        if client is None:
            raise UnknownModel(f"no model {name!r}: {self._mend(provider)}")
        if provider == "local":
            if wire_name != MODEL_NAME:
                raise UnknownModel(f"no model {name!r}: the local model is local/{MODEL_NAME}")
            return Model(name, client, wire_name, CONTEXT_TOKENS, self._settings.local_model_url or "")
        return Model(
            name, client, wire_name, self._settings.openai_context_tokens, self._settings.openai_base_url or ""
        )

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    def _mend(self, provider: str) -> str:
        if provider == "openai":
            return "set ARENA_OPENAI_BASE_URL to use an OpenAI-compatible endpoint"
        if provider == "local":
            return "the local model is not running; start it with `arena serve`"
        return "models are named local/<name> or openai/<name>"
