"""Filling a caller's form from a document, part by part, each committed, so that a crash goes on from there.

Always holds: no transaction is open while a model is asked; what a part gave is written only in its place and only
while the document still has the content that it was asked for; of two that work at once on the same one, one writes.
The calls are bounded: `MOST_PARTS` parts, each asked for at most `MOST_TRIES` times. What a model says is data: a field
has the sources that were found in the text, whatever the model says of it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from app.core.errors import ArenaError, Conflict
from app.core.json_schema import Schema, compile_schema
from app.domain.documents import Passage
from app.domain.extracting import Piece, answer_schema, first_pieces, read_part
from app.domain.merging import Part, merge
from app.domain.usage import Took
from app.repositories.extractions import Outcome, Underway
from app.repositories.jobs import ASSISTANT_QUEUE
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.knowledge.extracting_request import FormTooLong, extracting_request, room_for_text
from app.services.knowledge.extractions import EXTRACT_TASK
from app.services.memory.side_work import next_try
from app.services.providers.base import ModelError
from app.services.side_calls import NoBudgetLeft, SideCalls
from app.services.structured import AnswerUnfit
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

MOST_PARTS = 100
MOST_CHUNKS = 200
"""Of one part."""
MOST_TRIES = 3
MOST_BEGUN = 20


class DocumentChanged(Conflict):
    """The document has another content than when it was asked for."""

    code = "document_changed"


class ExtractionGivenUp(Conflict):
    """Work on it was begun again and again, and never came to an end."""

    code = "extraction_given_up"


class _Over(Exception):
    """It is gone, was ended, or another works on it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An extraction; `attempt` counts from 1."""

    workspace_id: UUID
    extraction_id: UUID
    attempt: int = 1


class Extracting:
    """Works on one extraction at a time; any number of these may work at once."""

    def __init__(self, uow: UnitOfWorkFactory, models: ModelCatalog, calls: SideCalls) -> None:
        self._uow = uow
        self._models = models
        self._calls = calls

    async def extract(self, one: Wanted) -> None:
        """Do it, or go on with it; what the model fails at is tried again later, twice."""
        try:
            await self._begin(one)
            while await self._next_part(one):
                one = replace(one, attempt=1)
        except _Over:
            log.info("extraction_left", extraction_id=str(one.extraction_id))
        except ModelError as error:
            await self._later_or_fail(one, error)
        except (NoBudgetLeft, UnknownModel, FormTooLong, DocumentChanged, ExtractionGivenUp, AnswerUnfit) as error:
            await self._fail(one, error)

    async def _begin(self, one: Wanted) -> None:
        async with self._uow(one.workspace_id) as work:
            begun = await work.extractions.begin(one.extraction_id)
        if begun is None:
            raise _Over
        if begun > MOST_BEGUN:
            raise ExtractionGivenUp("each try was cut short; ask again")

    async def _next_part(self, one: Wanted) -> bool:
        """Show the model as much more as it can hold; False: there was nothing left, and it is finished."""
        async with self._uow.reading(one.workspace_id) as work:
            found = await work.extractions.find_underway(one.extraction_id)
            if found is None:
                raise _Over
            if not found.is_current:
                raise DocumentChanged("the document was replaced meanwhile; ask again")
            passages = await work.chunks.list_from(found.document_id, found.chunks_seen, MOST_CHUNKS)
        if not passages or found.parts >= MOST_PARTS:
            await self._finish(one, found)
            return False
        model = (await self._models.of(one.workspace_id, found.model)).get(found.model)
        await self._read(one, found, model, passages)
        return True

    async def _read(self, one: Wanted, found: Underway, model: Model, passages: Sequence[Passage]) -> None:
        schema = compile_schema(answer_schema(found.schema))
        room = room_for_text(model, schema, found.instructions)
        pieces = first_pieces(passages, found.chunks_seen + 1, room)
        part, took = await self._ask(one, found, model, pieces, schema)
        async with self._uow(one.workspace_id) as work:
            if not await work.extractions.add_part(found, found.chunks_seen + len(pieces), part, took):
                raise _Over

    async def _ask(
        self, one: Wanted, found: Underway, model: Model, pieces: Sequence[Piece], schema: Schema
    ) -> tuple[dict[str, Any] | None, Took]:
        """What a part gave; None if the model's answers are of no use."""
        request = extracting_request(model, found.title, found.instructions, pieces, schema)
        try:
            answer = await self._calls.ask_structured(one.workspace_id, found.created_by, model, request, schema)
        except AnswerUnfit as error:
            log.warning("part_not_extracted", extraction_id=str(found.id), model=model.name)
            return None, error.used
        except ModelError as error:
            error.detail = f"{model.name}: {error.detail}"
            raise
        part = await asyncio.to_thread(read_part, answer.value, pieces, found.page_starts or ())
        return {"value": part.value, "sources": part.sources}, answer

    async def _finish(self, one: Wanted, found: Underway) -> None:
        async with self._uow.reading(one.workspace_id) as work:
            parts = await work.extractions.list_parts(one.extraction_id)
        read = [Part(**part) for part in parts if part is not None]
        if not read:
            raise AnswerUnfit(f"{found.model}: none of its answers fits the schema")
        is_whole = len(read) == len(parts) and found.chunks_seen >= found.chunk_count
        outcome = await asyncio.to_thread(_outcome, found.schema, read, is_whole)
        async with self._uow(one.workspace_id) as work:
            if not await work.extractions.finish(found, outcome):
                raise _Over
        log.info("extracted", extraction_id=str(found.id), status=outcome.status, parts=len(parts))

    async def _later_or_fail(self, one: Wanted, error: ModelError) -> None:
        async with self._uow(one.workspace_id) as work:
            await work.extractions.note_used(one.extraction_id, error.used)
            at = next_try(one.attempt, work.now()) if error.retryable and one.attempt < MOST_TRIES else None
            if at is not None:
                await work.jobs.defer(
                    EXTRACT_TASK,
                    ASSISTANT_QUEUE,
                    at=at,
                    workspace_id=str(one.workspace_id),
                    extraction_id=str(one.extraction_id),
                    attempt=one.attempt + 1,
                )
                return
        await self._fail(one, error)

    async def _fail(self, one: Wanted, error: ArenaError) -> None:
        async with self._uow(one.workspace_id) as work:
            await work.extractions.fail(one.extraction_id, error.detail, error.code)
        log.info("extraction_failed", extraction_id=str(one.extraction_id), code=error.code)


def _outcome(form: dict[str, Any], parts: Sequence[Part], is_whole: bool) -> Outcome:
    merged = merge(parts)
    schema = compile_schema(form)
    faults = schema.faults(merged.value)
    return Outcome(
        "ready" if is_whole and not faults else "incomplete",
        merged.value,
        dict(merged.sources),
        schema.missing(merged.value),
        merged.unsupported,
        faults,
    )
