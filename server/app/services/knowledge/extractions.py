"""Extractions, as people ask for them, read and delete them; the work on them is done by jobs."""

from typing import Any
from uuid import UUID

from app.core.errors import Conflict, Invalid, located
from app.core.ids import new_id
from app.core.json_schema import BadSchema, Schema, compile_schema
from app.domain.audit import Action
from app.domain.extracting import answer_schema
from app.domain.permissions import Permission
from app.models import Document, Extraction
from app.repositories.jobs import ASSISTANT_QUEUE
from app.schemas.base import Page
from app.schemas.extraction import ExtractionCreate, ExtractionDetail, ExtractionRead
from app.services.ai_models import Model, ModelCatalog
from app.services.assistant_model import Assistants
from app.services.callers import Actor
from app.services.knowledge.extracting_request import room_for_text
from app.services.unit_of_work import UnitOfWorkFactory

EXTRACT_TASK = "extract_from_document"


class NoModel(Invalid):
    """Nobody said which model is to do it, and the installation has none for such work."""

    code = "no_model"


class NotReadable(Conflict):
    """The document is not, or not yet, cut into what a model can be shown."""

    code = "document_not_readable"


class ExtractionService:
    """What is extracted from the documents of the workspace."""

    def __init__(self, uow: UnitOfWorkFactory, models: ModelCatalog, assistants: Assistants) -> None:
        self._uow = uow
        self._models = models
        self._assistants = assistants

    async def begin(self, actor: Actor, document_id: UUID, request: ExtractionCreate) -> ExtractionRead:
        """Queue it; raise `BadSchema`, `UnknownModel`, `NoModel`, `FormTooLong`, or `NotReadable`."""
        with located("body", "schema"):
            schema = _compiled(request.form)
        async with self._uow.reading(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id, with_text=False)
            base = await work.knowledge.get_base(document.base_id)
        model = await self._model(actor, request.model, base.model)
        room_for_text(model, schema, request.instructions)
        async with self._uow(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id, for_update=True, with_text=False)
            extraction = _new(actor, document, request, model)
            await work.extractions.add(extraction)
            await work.jobs.defer(
                EXTRACT_TASK,
                ASSISTANT_QUEUE,
                workspace_id=str(actor.workspace_id),
                extraction_id=str(extraction.id),
            )
        return ExtractionRead(**_shown(extraction))

    async def get(self, actor: Actor, extraction_id: UUID) -> ExtractionDetail:
        async with self._uow.reading(actor.workspace_id) as work:
            found = await work.extractions.get(extraction_id)
        return ExtractionDetail(
            **_shown(found),
            schema=found.schema,
            result=found.result,
            sources=found.sources or {},
            unsupported=found.unsupported or [],
            missing=found.missing or [],
            faults=found.faults or [],
        )

    async def list_page(self, actor: Actor, document_id: UUID, limit: int, cursor: str | None) -> Page[ExtractionRead]:
        """Newest first."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.knowledge.get_document(document_id, with_text=False)
            rows, following = await work.extractions.list_of(document_id, limit, cursor)
        return Page(items=[ExtractionRead(**_shown(row)) for row in rows], next_cursor=following)

    async def delete(self, actor: Actor, extraction_id: UUID) -> None:
        """Work on it ends by itself."""
        async with self._uow(actor.workspace_id) as work:
            await work.extractions.get(extraction_id)
            await work.extractions.delete(extraction_id)
            work.audit.record(Action.EXTRACTION_DELETED, actor, extraction_id)

    async def _model(self, actor: Actor, asked: str | None, of_base: str | None) -> Model:
        if asked is not None:
            actor.require(Permission.MODELS_USE)
            models = await self._models.of(actor.workspace_id, asked)
            models.check(asked, "body", "model")
            return models.get(asked)
        found = await self._assistants.find(actor.workspace_id, of_base)
        if found is None:
            raise NoModel("no model is set for such work: name one, or give the knowledge base one", "model")
        return found


def _compiled(form: dict[str, Any]) -> Schema:
    """What an answer has to be like; raise `BadSchema` also for what cannot be filled in part by part."""
    compile_schema(form)
    if form.get("type") != "object":
        raise BadSchema('what is extracted is an object: the schema has to say "type": "object"')
    return compile_schema(answer_schema(form))


def _new(actor: Actor, document: Document, request: ExtractionCreate, model: Model) -> Extraction:
    if document.status != "ready" or document.cut_generation != document.generation:
        raise NotReadable("nothing can be extracted from this document until its `status` is `ready`")
    return Extraction(
        id=new_id(),
        workspace_id=actor.workspace_id,
        document_id=document.id,
        generation=document.generation,
        schema=request.form,
        instructions=request.instructions,
        model=model.name,
        status="queued",
        begun=0,
        chunk_count=document.chunk_count,
        chunks_seen=0,
        chunks_read=0,
        partial=[],
        prompt_tokens=0,
        completion_tokens=0,
        cost_usd=0,
        created_by=actor.user_id,
    )


def _shown(one: Extraction) -> dict[str, Any]:
    is_done = one.status in {"ready", "incomplete"}
    return {
        "id": one.id,
        "document_id": one.document_id,
        "model": one.model,
        "instructions": one.instructions,
        "status": one.status,
        "progress": 1.0 if is_done else one.chunks_seen / max(1, one.chunk_count),
        "chunk_count": one.chunk_count,
        "chunks_read": one.chunks_read,
        "error": one.error,
        "error_code": one.error_code,
        "usage": {
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.completion_tokens,
            "cost_usd": float(one.cost_usd),
        },
        "created_at": one.created_at,
        "updated_at": one.updated_at,
    }
