"""Models asked directly."""

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import Embeddings, UsesModels
from app.routes.responses import problems
from app.schemas.ai import EmbeddingsCreate, EmbeddingsRead

router = APIRouter(prefix=PREFIX + "/ai", tags=["ai"])


@router.post("/embeddings", responses=problems(401, 403, 404, 413, 422, 424))
async def embed(request: EmbeddingsCreate, actor: UsesModels, embeddings: Embeddings) -> EmbeddingsRead:
    """Turn texts into vectors of length 1."""
    return await embeddings.embed(actor, request)
