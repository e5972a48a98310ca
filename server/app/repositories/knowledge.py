"""Knowledge bases and documents. A base that is being deleted is not there, nor is what is in it."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import load_only

from app.core.clock import utc_now
from app.core.errors import Conflict, NotFound
from app.domain.context import SourceDocument
from app.models import Document, KnowledgeBase
from app.repositories.base import Repository, contains, violates

_ALL_BUT_TEXT = [getattr(Document, column.key) for column in Document.__table__.columns if column.key != "text"]

SEARCHED_BASES = 1_000


class BaseNameTaken(Conflict):
    """Another knowledge base of the workspace has the name."""

    code = "name_taken"


class KnowledgeRepository(Repository):
    """The workspace's knowledge."""

    def _bases(self) -> Select[KnowledgeBase]:
        return select(KnowledgeBase).where(
            KnowledgeBase.workspace_id == self._workspace_id, KnowledgeBase.deleted_at.is_(None)
        )

    def _is_here(self) -> tuple[ColumnElement[bool], ...]:
        """Conditions of the documents there are."""
        bases = select(KnowledgeBase.id).where(KnowledgeBase.id == Document.base_id, KnowledgeBase.deleted_at.is_(None))
        return (Document.workspace_id == self._workspace_id, bases.exists())

    async def save_base(self, base: KnowledgeBase) -> None:
        """Write the base; raise `BaseNameTaken`."""
        self._session.add(base)
        try:
            await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_knowledge_bases_workspace_id_name"):
                raise BaseNameTaken("another knowledge base of this workspace has this name") from None
            raise

    async def get_base(self, base_id: UUID, *, for_update: bool = False, keep: bool = False) -> KnowledgeBase:
        """With `keep` it is there, and as it is, until the transaction ends."""
        query = self._bases().where(KnowledgeBase.id == base_id)
        if for_update or keep:
            query = query.with_for_update(read=keep)
        base: KnowledgeBase | None = await self._session.scalar(query)
        if base is None:
            raise NotFound("there is no such knowledge base")
        return base

    async def find_base_for_update(self, base_id: UUID) -> KnowledgeBase | None:
        """None: it is gone."""
        base: KnowledgeBase | None = await self._session.scalar(
            self._bases().where(KnowledgeBase.id == base_id).with_for_update()
        )
        return base

    async def tell_embedding(self, base_id: UUID, model: str, progress: float) -> bool:
        """How far the change to that model is; False if the base does not change to it any more."""
        told = await self._session.execute(
            update(KnowledgeBase)
            .where(
                KnowledgeBase.workspace_id == self._workspace_id,
                KnowledgeBase.id == base_id,
                KnowledgeBase.next_embedding_model == model,
            )
            .values(
                embedding_progress=func.greatest(func.coalesce(KnowledgeBase.embedding_progress, 0.0), progress),
                updated_at=KnowledgeBase.updated_at,
            )
            .returning(KnowledgeBase.id)
        )
        return told.first() is not None

    async def find_base_ids(self, base_ids: Collection[UUID]) -> set[UUID]:
        """Those of the ids that are bases of this workspace."""
        rows = await self._session.scalars(
            self._bases().with_only_columns(KnowledgeBase.id).where(KnowledgeBase.id.in_(base_ids))
        )
        return set(rows)

    async def list_searched(self, base_ids: Collection[UUID], document_ids: Collection[UUID]) -> dict[UUID, str]:
        """Those of the bases that are this workspace's, or all of them if none is named, with their embedding models.

        Only those that hold one of the documents, if any are named.
        """
        query = self._bases().with_only_columns(KnowledgeBase.id, KnowledgeBase.embedding_model)
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
        return await self._page(self._bases(), KnowledgeBase.id, limit, cursor)

    async def hide_base(self, base: KnowledgeBase) -> None:
        """From here on it is gone for everybody, and its name is free; what is in it is still to be deleted."""
        base.deleted_at, base.name = utc_now(), str(base.id)
        await self._session.flush()

    async def is_hidden(self, base_id: UUID) -> bool:
        """Whether it is one that was deleted and is not empty yet."""
        query = select(KnowledgeBase.deleted_at.is_not(None)).where(
            KnowledgeBase.workspace_id == self._workspace_id, KnowledgeBase.id == base_id
        )
        return bool(await self._session.scalar(query))

    async def delete_hidden(self, base_id: UUID) -> None:
        """Delete a base's row, when nothing is in it any more."""
        base = await self._session.get(KnowledgeBase, base_id)
        if base is not None and base.workspace_id == self._workspace_id and base.deleted_at is not None:
            await self._session.delete(base)

    async def list_of_base(self, base_id: UUID, limit: int) -> list[Document]:
        """Some of its documents, without their texts, also of a base that is being deleted."""
        query = (
            select(Document)
            .options(load_only(*_ALL_BUT_TEXT))
            .where(Document.workspace_id == self._workspace_id, Document.base_id == base_id)
        )
        return list(await self._session.scalars(query.order_by(Document.id).limit(limit)))

    async def list_originals(self, after: UUID | None, limit: int) -> list[tuple[UUID, UUID | None]]:
        """Some of the workspace's documents by their age, each with its file, behind one of them."""
        query = select(Document.id, Document.original_id).where(Document.workspace_id == self._workspace_id)
        query = query.where(Document.id > after) if after else query
        rows = await self._session.execute(query.order_by(Document.id).limit(limit))
        return [(row.id, row.original_id) for row in rows]

    async def delete_documents(self, document_ids: Collection[UUID]) -> None:
        await self._session.execute(
            delete(Document).where(Document.workspace_id == self._workspace_id, Document.id.in_(document_ids))
        )

    async def add_document(self, document: Document) -> bool:
        """False, and nothing written, if the base has one of this content by now."""
        try:
            async with self._session.begin_nested():
                self._session.add(document)
                await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_documents_base_id_content_hash"):
                return False
            raise
        return True

    async def change_document(self) -> bool:
        """Write what was changed; False, and nothing written, if the base has another of this content."""
        try:
            async with self._session.begin_nested():
                await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_documents_base_id_content_hash"):
                return False
            raise
        return True

    async def find_by_content(self, base_id: UUID, content_hash: bytes) -> Document | None:
        """The base's document of that content, locked; without its text."""
        query = (
            select(Document)
            .options(load_only(*_ALL_BUT_TEXT))
            .where(*self._is_here(), Document.base_id == base_id, Document.content_hash == content_hash)
        )
        found: Document | None = await self._session.scalar(query.with_for_update())
        return found

    async def get_document(self, document_id: UUID, *, for_update: bool = False, with_text: bool = True) -> Document:
        query = select(Document).where(*self._is_here(), Document.id == document_id)
        if not with_text:
            query = query.options(load_only(*_ALL_BUT_TEXT))
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
        rows = await self._session.execute(select(*columns).where(*self._is_here(), Document.id.in_(document_ids)))
        return {
            row.id: SourceDocument(row.title, row.beginning, row.id, row.page_starts or (), row.is_whole)
            for row in rows
        }

    async def find_page_starts(self, document_ids: Collection[UUID]) -> dict[UUID, list[int]]:
        """Where the pages of those of the documents begin that have pages."""
        rows = await self._session.execute(
            select(Document.id, Document.page_starts).where(
                *self._is_here(),
                Document.id.in_(document_ids),
                Document.page_starts.is_not(None),
            )
        )
        return {row.id: row.page_starts for row in rows}

    async def find_document_ids(self, document_ids: Collection[UUID]) -> set[UUID]:
        """Those of the ids that are documents of this workspace."""
        return set(await self.find_states(document_ids))

    async def find_states(self, document_ids: Collection[UUID]) -> dict[UUID, tuple[str, str, bool]]:
        """(title, status, whether there is text) of those of the ids that are documents of this workspace."""
        rows = await self._session.execute(
            select(Document.id, Document.title, Document.status, (Document.text != "").label("has_text")).where(
                *self._is_here(),
                Document.id.in_(document_ids),
            )
        )
        return {row.id: (row.title, row.status, row.has_text) for row in rows}

    async def list_documents(
        self, base_id: UUID, limit: int, cursor: str | None, *, status: str | None = None, text: str | None = None
    ) -> tuple[list[Document], str | None]:
        """Without their texts, which may be long; `text` is looked for in titles and names of files."""
        query = (
            select(Document)
            .options(load_only(*_ALL_BUT_TEXT))
            .where(Document.workspace_id == self._workspace_id, Document.base_id == base_id)
        )
        if status:
            query = query.where(Document.status == status)
        if text:
            query = query.where(
                Document.title.ilike(contains(text)) | func.coalesce(Document.file_name, "").ilike(contains(text))
            )
        return await self._page(query, Document.id, limit, cursor)

    async def delete_document(self, document: Document) -> None:
        await self._session.delete(document)
