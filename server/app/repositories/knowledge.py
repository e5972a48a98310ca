"""Knowledge bases and documents."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import load_only

from app.core.errors import Conflict, NotFound
from app.domain.context import SourceDocument
from app.models import Document, KnowledgeBase
from app.repositories.base import Repository, violates

SEARCHED_BASES = 1_000


class BaseNameTaken(Conflict):
    """Another knowledge base of the workspace has the name."""

    code = "name_taken"


class KnowledgeRepository(Repository):
    """The workspace's knowledge."""

    async def save_base(self, base: KnowledgeBase) -> None:
        """Write the base; raise `BaseNameTaken`."""
        self._session.add(base)
        try:
            await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_knowledge_bases_workspace_id_name"):
                raise BaseNameTaken("another knowledge base of this workspace has this name") from None
            raise

    async def get_base(self, base_id: UUID, *, for_update: bool = False) -> KnowledgeBase:
        query = select(KnowledgeBase).where(
            KnowledgeBase.workspace_id == self._workspace_id, KnowledgeBase.id == base_id
        )
        base: KnowledgeBase | None = await self._session.scalar(query.with_for_update() if for_update else query)
        if base is None:
            raise NotFound("there is no such knowledge base")
        return base

    async def find_base_ids(self, base_ids: Collection[UUID]) -> set[UUID]:
        """Those of the ids that are bases of this workspace."""
        rows = await self._session.scalars(
            select(KnowledgeBase.id).where(
                KnowledgeBase.workspace_id == self._workspace_id, KnowledgeBase.id.in_(base_ids)
            )
        )
        return set(rows)

    async def list_searched(self, base_ids: Collection[UUID], document_ids: Collection[UUID]) -> dict[UUID, str]:
        """Those of the bases that are this workspace's, or all of them if none is named, with their embedding models.

        Only those that hold one of the documents, if any are named.
        """
        query = select(KnowledgeBase.id, KnowledgeBase.embedding_model).where(
            KnowledgeBase.workspace_id == self._workspace_id
        )
        if base_ids:
            query = query.where(KnowledgeBase.id.in_(base_ids))
        if document_ids:
            holding = select(Document.base_id).where(
                Document.workspace_id == self._workspace_id, Document.id.in_(document_ids)
            )
            query = query.where(KnowledgeBase.id.in_(holding))
        rows = await self._session.execute(query.order_by(KnowledgeBase.id).limit(SEARCHED_BASES))
        return {row.id: row.embedding_model for row in rows}

    async def list_bases(self, limit: int, cursor: str | None) -> tuple[list[KnowledgeBase], str | None]:
        query = select(KnowledgeBase).where(KnowledgeBase.workspace_id == self._workspace_id)
        return await self._page(query, KnowledgeBase.id, limit, cursor)

    async def delete_base(self, base: KnowledgeBase) -> None:
        await self._session.delete(base)

    async def add_document(self, document: Document) -> None:
        self._session.add(document)
        await self._session.flush()

    async def get_document(self, document_id: UUID, *, for_update: bool = False) -> Document:
        query = select(Document).where(Document.workspace_id == self._workspace_id, Document.id == document_id)
        document: Document | None = await self._session.scalar(query.with_for_update() if for_update else query)
        if document is None:
            raise NotFound("there is no such document")
        return document

    async def find_beginnings(self, document_ids: Collection[UUID], characters: int) -> dict[UUID, SourceDocument]:
        """The beginnings of those of the ids that are documents of this workspace."""
        columns = (
            Document.id,
            Document.title,
            Document.page_starts,
            func.left(Document.text, characters).label("beginning"),
            (func.length(Document.text) <= characters).label("is_whole"),
        )
        rows = await self._session.execute(
            select(*columns).where(Document.workspace_id == self._workspace_id, Document.id.in_(document_ids))
        )
        return {
            row.id: SourceDocument(row.title, row.beginning, row.id, row.page_starts or (), row.is_whole)
            for row in rows
        }

    async def find_page_starts(self, document_ids: Collection[UUID]) -> dict[UUID, list[int]]:
        """Where the pages of those of the documents begin that have pages."""
        rows = await self._session.execute(
            select(Document.id, Document.page_starts).where(
                Document.workspace_id == self._workspace_id,
                Document.id.in_(document_ids),
                Document.page_starts.is_not(None),
            )
        )
        return {row.id: row.page_starts for row in rows}

    async def find_document_ids(self, document_ids: Collection[UUID]) -> set[UUID]:
        """Those of the ids that are documents of this workspace."""
        rows = await self._session.scalars(
            select(Document.id).where(Document.workspace_id == self._workspace_id, Document.id.in_(document_ids))
        )
        return set(rows)

    async def list_documents(self, base_id: UUID, limit: int, cursor: str | None) -> tuple[list[Document], str | None]:
        """Without their texts, which may be long."""
        columns = [column for column in Document.__table__.columns.keys() if column != "text"]  # noqa: SIM118
        query = (
            select(Document)
            .options(load_only(*(getattr(Document, name) for name in columns)))
            .where(Document.workspace_id == self._workspace_id, Document.base_id == base_id)
        )
        return await self._page(query, Document.id, limit, cursor)

    async def delete_document(self, document: Document) -> None:
        await self._session.delete(document)
