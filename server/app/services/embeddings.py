"""Vectors of texts that a caller gives."""

from app.core.errors import located
from app.domain.context import estimate_tokens
from app.schemas.ai import EmbeddingRead, EmbeddingsCreate, EmbeddingsRead, EmbeddingUsage
from app.services.callers import Actor
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.providers.base import ModelError


class EmbeddingService:
    """The embedding models of the caller's workspace."""

    def __init__(self, catalog: EmbeddingCatalog) -> None:
        self._catalog = catalog

    async def embed(self, actor: Actor, request: EmbeddingsCreate) -> EmbeddingsRead:
        """A vector for each text; raise `UnknownModel`, `UnknownDimensions` or a `ModelError`."""
        with located("body", "model"):
            model = await self._catalog.get(actor.workspace_id, request.model)
        try:
            embedded = await model.embedder.embed_counted(request.texts, request.dimensions)
        except ModelError as error:
            error.detail = f"{model.name}: {error.detail}"
            raise
        tokens = embedded.tokens
        return EmbeddingsRead(
            model=model.name,
            dimensions=embedded.vectors.shape[1],
            data=[EmbeddingRead(index=index, embedding=row) for index, row in enumerate(embedded.vectors.tolist())],
            usage=EmbeddingUsage(prompt_tokens=sum(map(estimate_tokens, request.texts)) if tokens is None else tokens),
        )
