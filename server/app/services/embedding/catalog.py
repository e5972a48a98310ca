"""Which embedding models there are: `local/wordllama-256`, and what OpenAI-compatible endpoints offer."""

from dataclasses import dataclass
from uuid import UUID

from cachetools import LRUCache

from app.config import ModelSettings
from app.services.ai_models import ModelCatalog, UnknownModel
from app.services.embedding.base import Embedder
from app.services.embedding.local import DIMENSIONS, LocalEmbedder
from app.services.embedding.openai_compatible import EmbeddingsEndpoint, OpenAICompatibleEmbedder
from app.services.providers.base import ModelTimeouts

DEFAULT_EMBEDDING_MODEL = "local/wordllama-256"
LOCAL = {f"local/wordllama-{dimensions}": dimensions for dimensions in DIMENSIONS}
MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that is ready to be asked."""

    name: str
    embedder: Embedder


class EmbeddingCatalog:
    """The models that embed for a workspace."""

    def __init__(self, settings: ModelSettings, models: ModelCatalog) -> None:
        self._models = models
        self._local = {name: EmbeddingModel(name, LocalEmbedder(dimensions)) for name, dimensions in LOCAL.items()}
        self._operators: LRUCache[str, EmbeddingModel] = LRUCache(MOST_KEPT)
        self._endpoint: EmbeddingsEndpoint | None = None
        if settings.openai_base_url is not None:
            key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
            timeouts = ModelTimeouts(settings.model_connect_seconds, settings.model_first_token_seconds)
            self._endpoint = EmbeddingsEndpoint(settings.openai_base_url, key, timeouts)

    async def get(self, workspace_id: UUID, name: str) -> EmbeddingModel:
        """The model; raise `UnknownModel` with the mend in the sentence."""
        provider, _, wire_name = name.partition("/")
        if provider == "local":
            if name not in self._local:
                raise UnknownModel(f"no embedding model {name!r}: there are {', '.join(LOCAL)}")
            return self._local[name]
        if provider == "openai" and self._endpoint is not None and wire_name:
            if name not in self._operators:
                self._operators[name] = EmbeddingModel(name, OpenAICompatibleEmbedder(self._endpoint, wire_name))
            return self._operators[name]
        client = (await self._models.of(workspace_id, name)).providers.get(provider)
        embedder = client.embedder(wire_name) if client is not None and wire_name else None
        if embedder is None:
            raise UnknownModel(f"no embedding model {name!r}: the default is {DEFAULT_EMBEDDING_MODEL}")
        return EmbeddingModel(name, embedder)

    async def close(self) -> None:
        if self._endpoint is not None:
            await self._endpoint.close()
