"""The models that the settings name: the local one, an OpenAI-compatible endpoint, and recordings of both."""

from pathlib import Path

from pydantic import SecretStr
from redis.asyncio import Redis

from app.config import ModelSettings
from app.core.local_model import CONTEXT_TOKENS, MODEL_NAME
from app.services.model import Model, ModelSource, PriceList, UnknownModel
from app.services.providers.base import ChatModel, ModelTimeouts
from app.services.providers.breaker import Breakers
from app.services.providers.caps import Caps
from app.services.providers.guarded import GuardedModel
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.pace import Pace
from app.services.providers.recording import Recorder, RecordingModel
from app.services.providers.replay import Recordings, ReplayModel


def timeouts_of(settings: ModelSettings) -> ModelTimeouts:
    return ModelTimeouts(
        connect_seconds=settings.model_connect_seconds,
        first_token_seconds=settings.model_first_token_seconds,
        idle_seconds=settings.model_idle_seconds,
        total_seconds=settings.model_total_seconds,
    )


class OperatorModels:
    """What every workspace can use.

    `cache` shares the caps of the endpoint with other processes; without it each keeps to them for itself.
    """

    def __init__(
        self,
        settings: ModelSettings,
        cache: Redis | None = None,
        recordings_dir: Path | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._pace = pace or Pace()
        self._timeouts = timeouts_of(settings)
        self._recorder = Recorder(settings.record) if settings.record else None
        self._recordings = Recordings(settings.recordings or recordings_dir or Path("recordings").absolute())
        self._replay = ReplayModel(self._recordings, settings.replay_pace)
        self.sources: dict[str, ModelSource] = {}
        if settings.local_model_url:
            self._add("local", settings.local_model_url, settings.local_model_key, CONTEXT_TOKENS, self._caps("local"))
        if settings.openai_base_url:
            caps = self._caps("openai", settings.openai_concurrency, settings.openai_requests_per_minute)
            self._add("openai", settings.openai_base_url, settings.openai_api_key, settings.openai_context_tokens, caps)

    @property
    def first_token_seconds(self) -> float:
        """After which a silent model is given up."""
        return self._timeouts.first_token_seconds

    def get(self, name: str) -> Model:
        """The model; raise `UnknownModel` with the mend in the sentence."""
        source_name, _, wire_name = name.partition("/")
        if source_name == "replay":
            return self._recorded(name, wire_name)
        source = self.sources.get(source_name)
        if source is None:
            raise UnknownModel(f"no model {name!r}: {self._mend(source_name)}")
        if source.only is not None and wire_name != source.only:
            raise UnknownModel(f"no model {name!r}: the local model is local/{MODEL_NAME}")
        return source.model(wire_name)

    async def close(self) -> None:
        for source in self.sources.values():
            await source.client.close()
        if self._recorder is not None:
            self._recorder.close()

    def _add(self, name: str, base_url: str, key: SecretStr | None, context_tokens: int, caps: Caps) -> None:
        """The client of a provider: recorded, if that is wanted, as the breakers and caps let calls through."""
        settings = self._settings
        bare = OpenAICompatibleModel(base_url, key.get_secret_value() if key else None, self._timeouts, self._pace)
        client: ChatModel = bare
        if self._recorder is not None:
            client = RecordingModel(client, name, context_tokens, self._recorder)
        breakers = Breakers(name, settings.model_breaker_failures, settings.model_breaker_seconds)
        is_local = name == "local"
        self.sources[name] = ModelSource(
            name=name,
            kind="local" if is_local else "openai_compatible",
            client=GuardedModel(client, breakers, caps),
            context_tokens=context_tokens,
            prices=PriceList(address=base_url),
            version=base_url,
            only=MODEL_NAME if is_local else None,
            list_names=bare.list_models,
        )

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
        return "models are named local/<name>, openai/<name>, replay/<name> or <provider of the workspace>/<name>"
