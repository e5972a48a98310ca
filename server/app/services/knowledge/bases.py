"""Knowledge bases and text documents."""

from uuid import UUID

from app.core.ids import new_id
from app.domain.audit import Action
from app.models import Document, KnowledgeBase
from app.schemas.base import Page
from app.schemas.knowledge import (
    DocumentCreate,
    DocumentDetail,
    DocumentRead,
    KnowledgeBaseCreate,
    KnowledgeBaseRead,
    KnowledgeBaseUpdate,
)
from app.services.callers import Actor
from app.services.unit_of_work import UnitOfWorkFactory


class KnowledgeService:
    """The workspace's knowledge."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def create_base(self, actor: Actor, request: KnowledgeBaseCreate) -> KnowledgeBaseRead:
        base = KnowledgeBase(
            id=new_id(),
            workspace_id=actor.workspace_id,
            name=request.name,
            description=request.description,
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
        async with self._uow(actor.workspace_id) as work:
            base = await work.knowledge.get_base(base_id, for_update=True)
            if request.name is not None:
                base.name = request.name
            if "description" in request.model_fields_set:
                base.description = request.description
            await work.knowledge.save_base(base)
        return KnowledgeBaseRead.model_validate(base)

    async def delete_base(self, actor: Actor, base_id: UUID) -> None:
        """Delete the base with its documents."""
        async with self._uow(actor.workspace_id) as work:
            await work.knowledge.delete_base(await work.knowledge.get_base(base_id, for_update=True))
            work.audit.record(Action.BASE_DELETED, actor, base_id)

    async def add_document(self, actor: Actor, base_id: UUID, request: DocumentCreate) -> DocumentRead:
        """Store a text; it is ready at once."""
        document = Document(
            id=new_id(),
            workspace_id=actor.workspace_id,
            base_id=base_id,
            title=request.title,
            text=request.text,
            media_type="text/markdown",
            size_bytes=len(request.text.encode()),
            status="ready",
            progress=1.0,
            created_by=actor.user_id,
        )
        async with self._uow(actor.workspace_id) as work:
            await work.knowledge.get_base(base_id)
            await work.knowledge.add_document(document)
        return DocumentRead.model_validate(document)

    async def get_document(self, actor: Actor, document_id: UUID) -> DocumentDetail:
        async with self._uow.reading(actor.workspace_id) as work:
            return DocumentDetail.model_validate(await work.knowledge.get_document(document_id))

    async def list_documents(self, actor: Actor, base_id: UUID, limit: int, cursor: str | None) -> Page[DocumentRead]:
        """Newest first."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.knowledge.get_base(base_id)
            rows, following = await work.knowledge.list_documents(base_id, limit, cursor)
        return Page(items=[DocumentRead.model_validate(row) for row in rows], next_cursor=following)

    async def delete_document(self, actor: Actor, document_id: UUID) -> None:
        async with self._uow(actor.workspace_id) as work:
            await work.knowledge.delete_document(await work.knowledge.get_document(document_id, for_update=True))
            work.audit.record(Action.DOCUMENT_DELETED, actor, document_id)
