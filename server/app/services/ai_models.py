"""Which models there are, and what is known of each: `<provider>/<name>`."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from pydantic import SecretStr
from redis.asyncio import Redis

from app.config import ModelSettings
from app.core.errors import Invalid, located
from app.core.local_model import CONTEXT_TOKENS, MODEL_NAME
from app.services.providers.base import ChatModel, ModelTimeouts
from app.services.providers.breaker import Breakers
from app.services.providers.caps import Caps
from app.services.providers.guarded import GuardedModel
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.pace import Pace
from app.services.providers.recording import Recorder, RecordingModel
from app.services.providers.replay import Recordings, ReplayModel


class UnknownModel(Invalid):
    """No provider of that name, or it has no such model."""

    code = "unknown_model"


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to be asked: its client, its name at the provider, its context window in tokens.

    `base_url` is None where a call costs nothing. `without_schema` and `without_temperature` are shared by all models
    of the provider: the wire names of those that were seen to refuse a `response_schema`, or a `temperature`.
    """

    name: str
    client: ChatModel
    wire_name: str
    context_tokens: int
    base_url: str | None
    without_schema: set[str] = field(default_factory=set, compare=False, repr=False)
    without_temperature: set[str] = field(default_factory=set, compare=False, repr=False)

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of a call in US dollars, 0.0 where none is known."""
        if self.base_url is None:
            return 0.0
        prices = _prices_per_token(self.wire_name, self.base_url, prompt_tokens // TIER_STEP_TOKENS)
        return prompt_tokens * prices[0] + completion_tokens * prices[1] if prices else 0.0


TIER_STEP_TOKENS = 1000
"""Some models charge more for every token of a long prompt: prices are looked up for prompts of about its length."""


@lru_cache(maxsize=4096)
def _prices_per_token(wire_name: str, base_url: str, steps: int) -> tuple[float, float] | None:
    prompt_tokens, reply_tokens = steps * TIER_STEP_TOKENS + 1, 1_000_000
    used = PricedUsage(input_tokens=prompt_tokens, output_tokens=reply_tokens)
    try:
        price = calc_price(used, wire_name, provider_api_url=base_url)
    except LookupError:
        return None
    return float(price.input_price) / prompt_tokens, float(price.output_price) / reply_tokens


@dataclass(frozen=True, slots=True)
class _Provider:
    """A provider as the settings have it."""

    client: ChatModel
    context_tokens: int
    base_url: str
    without_schema: set[str] = field(default_factory=set)
    without_temperature: set[str] = field(default_factory=set)

    def model(self, name: str, wire_name: str) -> Model:
        refused = self.without_schema, self.without_temperature
        return Model(name, self.client, wire_name, self.context_tokens, self.base_url, *refused)


class ModelCatalog:
    """The operator's models: the local one, an OpenAI-compatible endpoint, and recordings of both.

    `cache` shares the caps of the endpoint with other processes; without it each keeps to them for itself.
    """

    def __init__(self, settings: ModelSettings, cache: Redis | None = None, recordings_dir: Path | None = None) -> None:
        self._settings = settings
        self._cache = cache
        self._pace = Pace()
        self._timeouts = ModelTimeouts(
            connect_seconds=settings.model_connect_seconds,
            first_token_seconds=settings.model_first_token_seconds,
            idle_seconds=settings.model_idle_seconds,
            total_seconds=settings.model_total_seconds,
        )
        self._recorder = Recorder(settings.record) if settings.record else None
        self._recordings = Recordings(settings.recordings or recordings_dir or Path("recordings").absolute())
        self._replay = ReplayModel(self._recordings, settings.replay_pace)
        self._providers: dict[str, _Provider] = {}
        if settings.local_model_url:
            self._add("local", settings.local_model_url, settings.local_model_key, CONTEXT_TOKENS, self._caps("local"))
        if settings.openai_base_url:
            caps = self._caps("openai", settings.openai_concurrency, settings.openai_requests_per_minute)
            self._add("openai", settings.openai_base_url, settings.openai_api_key, settings.openai_context_tokens, caps)

    @property
    def first_token_seconds(self) -> float:
        """After which a silent model is given up."""
        return self._timeouts.first_token_seconds

    def check(self, name: str | None, *loc: str | int) -> None:
        """Raise `UnknownModel` if a request asks at `loc` for a model that there is not."""
        if name is not None:
            with located(*loc):
                self.get(name)

    def get(self, name: str) -> Model:
        """The model; raise `UnknownModel` with the mend in the sentence."""
        provider_name, _, wire_name = name.partition("/")
        if provider_name == "replay":
            return self._recorded(name, wire_name)
        provider = self._providers.get(provider_name)
        if provider is None:
            raise UnknownModel(f"no model {name!r}: {self._mend(provider_name)}")
        if provider_name == "local" and wire_name != MODEL_NAME:
            raise UnknownModel(f"no model {name!r}: the local model is local/{MODEL_NAME}")
        return provider.model(name, wire_name)

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.client.close()
        if self._recorder is not None:
            self._recorder.close()

    def _add(self, name: str, base_url: str, key: SecretStr | None, context_tokens: int, caps: Caps) -> None:
        """The client of a provider: recorded, if that is wanted, as the breakers and caps let calls through."""
        settings = self._settings
        client: ChatModel = OpenAICompatibleModel(
            base_url, key.get_secret_value() if key else None, self._timeouts, self._pace
        )
        if self._recorder is not None:
            client = RecordingModel(client, name, context_tokens, self._recorder)
        breakers = Breakers(name, settings.model_breaker_failures, settings.model_breaker_seconds)
        self._providers[name] = _Provider(GuardedModel(client, breakers, caps), context_tokens, base_url)

    def _caps(self, provider: str, concurrency: int | None = None, per_minute: int | None = None) -> Caps:
        return Caps(
            provider,
            self._cache,
            concurrency=concurrency,
            per_minute=per_minute,
            wait_seconds=self._settings.openai_wait_seconds,
        )

    def _recorded(self, name: str, recording: str) -> Model:
        if self._recordings.find(recording) is None:
            raise UnknownModel(
                f"no model {name!r}: there is no recording {recording}.jsonl; "
                "ARENA_RECORD makes recordings, ARENA_RECORDINGS names their folder"
            )
        context_tokens = self._recordings.context_tokens(recording, self._settings.openai_context_tokens)
        return Model(name, self._replay, recording, context_tokens, None)

    def _mend(self, provider: str) -> str:
        if provider == "openai":
            return "set ARENA_OPENAI_BASE_URL to use an OpenAI-compatible endpoint"
        if provider == "local":
            return "the local model is not running; start it with `arena serve`"
        return "models are named local/<name>, openai/<name> or replay/<name>"
