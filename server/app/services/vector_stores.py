"""Which vector store an installation has."""

from app.config import Settings, VectorSettings
from app.core.errors import StartupFailed
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_store import VectorStore
from app.services.vector_store_postgresql import PgVectorStore


def make_vector_store(settings: Settings, uow: UnitOfWorkFactory) -> VectorStore:
    """The one that the settings name; nothing connects before it is used. Raise `StartupFailed`."""
    return PgVectorStore(uow) if settings.vectors.vector_store == "postgresql" else make_qdrant(settings.vectors)


def make_qdrant(settings: VectorSettings) -> VectorStore:
    """Raise `StartupFailed` where the extra is not installed or the URL is missing."""
    if settings.qdrant_url is None:
        raise StartupFailed("ARENA_VECTOR_STORE=qdrant needs ARENA_QDRANT_URL, where Qdrant is")
    try:
        # An extra, which takes a second and 90 MB.
        from qdrant_client import AsyncQdrantClient  # noqa: PLC0415

        from app.services.vector_store_qdrant import QdrantStore  # noqa: PLC0415
    except ImportError:
        raise StartupFailed(
            "ARENA_VECTOR_STORE=qdrant needs its client: pip install 'discussion-arena[qdrant]'"
        ) from None
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    client = AsyncQdrantClient(
        url=settings.qdrant_url, api_key=key, timeout=settings.qdrant_seconds, check_compatibility=False
    )
    return QdrantStore(client)
