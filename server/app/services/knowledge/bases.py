"""Knowledge bases: named collections of documents, each embedded by one model."""

from uuid import UUID

from app.core.errors import located
from app.core.ids import new_id
from app.domain.audit import Action
from app.models import KnowledgeBase
from app.repositories.jobs import CHORES_QUEUE
from app.schemas.base import Page
from app.schemas.knowledge import KnowledgeBaseCreate, KnowledgeBaseRead, KnowledgeBaseUpdate
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor
from app.services.embedding.catalog import DEFAULT_EMBEDDING_MODEL, EmbeddingCatalog
from app.services.knowledge.reembedding import change_model, queue_reembedding
from app.services.knowledge.removal import CLEAR_BASE_TASK
from app.services.unit_of_work import UnitOfWorkFactory


class KnowledgeService:
    """The workspace's knowledge bases."""

    def __init__(self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog, models: ModelCatalog) -> None:
        self._uow = uow
        self._embeddings = embeddings
        self._models = models

    async def create_base(self, actor: Actor, request: KnowledgeBaseCreate) -> KnowledgeBaseRead:
        await self._check(actor, request.embedding_model, request.model)
        base = KnowledgeBase(
            id=new_id(),
            workspace_id=actor.workspace_id,
            name=request.name,
            description=request.description,
            embedding_model=request.embedding_model or DEFAULT_EMBEDDING_MODEL,
            retired_embedding_models=[],
            model=request.model,
            created_by=actor.user_id,
        )
        async with self._uow(actor.workspace_id) as work:
            await work.knowledge.save_base(base)
        return KnowledgeBaseRead.model_validate(base)

    async def get_base(self, actor: Actor, base_id: UUID) -> KnowledgeBaseRead:
        async with self._uow.reading(actor.workspace_id) as work:
            return KnowledgeBaseRead.model_validate(await work.knowledge.get_base(base_id))

    async def list_bases(self, actor: Actor, limit: int, cursor: str | None) -> Page[KnowledgeBaseRead]:
        """Newest first."""
        async with self._uow.reading(actor.workspace_id) as work:
            rows, following = await work.knowledge.list_bases(limit, cursor)
        return Page(items=[KnowledgeBaseRead.model_validate(row) for row in rows], next_cursor=following)

    async def update_base(self, actor: Actor, base_id: UUID, request: KnowledgeBaseUpdate) -> KnowledgeBaseRead:
        """Change the fields given; another embedding model is changed to by a job."""
        await self._check(actor, request.embedding_model, request.model)
        async with self._uow(actor.workspace_id) as work:
            base = await work.knowledge.get_base(base_id, for_update=True)
            if request.name is not None:
                base.name = request.name
            if "description" in request.model_fields_set:
                base.description = request.description
            if "model" in request.model_fields_set:
                base.model = request.model
            if "embedding_model" in request.model_fields_set and change_model(
                base, request.embedding_model or DEFAULT_EMBEDDING_MODEL
            ):
                await queue_reembedding(work, base)
            await work.knowledge.save_base(base)
        return KnowledgeBaseRead.model_validate(base)

    async def delete_base(self, actor: Actor, base_id: UUID) -> None:
        """The base and its documents are gone at once; a job takes them away, which may take a while."""
        async with self._uow(actor.workspace_id) as work:
            await work.knowledge.hide_base(await work.knowledge.get_base(base_id, for_update=True))
            workspace_id = str(actor.workspace_id)
            await work.jobs.defer(CLEAR_BASE_TASK, CHORES_QUEUE, workspace_id=workspace_id, base_id=str(base_id))
            work.audit.record(Action.BASE_DELETED, actor, base_id)

    async def _check(self, actor: Actor, embedding_model: str | None, model: str | None) -> None:
        """Raise `UnknownModel` if one of them is none."""
        if embedding_model is not None:
            with located("body", "embedding_model"):
                await self._embeddings.get(actor.workspace_id, embedding_model)
        if model is not None:
            (await self._models.of(actor.workspace_id, model)).check(model, "body", "model")
