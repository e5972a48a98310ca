"""Which vector store an installation has."""

from app.config import Settings
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_store import VectorStore
from app.services.vector_store_postgresql import PgVectorStore


def make_vector_store(settings: Settings, uow: UnitOfWorkFactory) -> VectorStore:
    """The one that the settings name; nothing connects before it is used."""
    return PgVectorStore(uow)
