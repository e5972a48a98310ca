"""Titles, summaries, keywords and entities of documents, once they are ready: a model's, or read from the text.

Always holds: a document is asked of in one question, mended at most once, and never waits for it: it is found before.
Where no model is set, its answer is of no use, it fails or no budget is left, the text alone says what it can. A title
that somebody gave, or that the document says itself, stays. What is written is of the content that was read, or is not
written. The small model that comes with the product is not asked: the first sentences are a better summary than its
own; a base that names it gets what it says.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from app.core.json_schema import compile_schema
from app.core.local_model import MODEL_NAME
from app.domain.enriching import (
    SCHEMA,
    Enriched,
    count_words,
    enriching_prompt,
    first_sentences,
    keywords_of,
    read_enriched,
)
from app.domain.extracting import Piece, first_pieces
from app.domain.forgery import plain_name
from app.repositories.enrichments import Unenriched
from app.repositories.jobs import ASSISTANT_QUEUE
from app.services.assistant_model import Assistants
from app.services.knowledge.submissions import default_title
from app.services.model import Model
from app.services.prompts import PROMPT_MARGIN_TOKENS, prompt_tokens
from app.services.providers.base import ChatRequest, ModelError
from app.services.side_calls import NoBudgetLeft, SideCalls
from app.services.structured import AnswerUnfit, say_schema
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

ENRICH_TASK = "enrich_document"
REPLY_TOKENS = 900
MENDING_SHARE = 1.3
MOST_TEXT_TOKENS = 5_000
LEAST_TEXT_TOKENS = 300
CHUNK_TOKENS = 320
"""Of most chunks, with their labels."""
MOST_WORDS = 5_000
LONGEST_TITLE = 200
_ANSWER = compile_schema(SCHEMA)


class Enrichment:
    """Describes one document at a time; any number of these may work at once."""

    def __init__(self, uow: UnitOfWorkFactory, assistants: Assistants, calls: SideCalls) -> None:
        self._uow = uow
        self._assistants = assistants
        self._calls = calls

    async def enrich(self, workspace_id: UUID, document_id: UUID) -> None:
        """Nothing, if the document is gone, described, or being taken in anew, which queues this again."""
        async with self._uow.reading(workspace_id) as work:
            document = await work.enrichments.find(document_id)
        if document is None:
            return
        model = await self._find_model(workspace_id, document)
        found = await self._ask(workspace_id, document, model) if model is not None else None
        by = model.name if model is not None and found is not None else None
        found = found or await self._read(workspace_id, document)
        if not _is_unnamed(document):
            found = replace(found, title=None)
        async with self._uow(workspace_id) as work:
            if await work.enrichments.write(document, found, by):
                log.info("document_enriched", document_id=str(document_id), model=by)

    async def _find_model(self, workspace_id: UUID, document: Unenriched) -> Model | None:
        model = await self._assistants.find(workspace_id, document.model)
        is_chosen = model is not None and model.name == document.model
        return model if is_chosen or (model is not None and model.name != f"local/{MODEL_NAME}") else None

    async def _ask(self, workspace_id: UUID, document: Unenriched, model: Model) -> Enriched | None:
        """What the model says; None if that is of no use."""
        room = _room(model)
        if room < LEAST_TEXT_TOKENS:
            return None
        async with self._uow.reading(workspace_id) as work:
            places = _places(document.chunk_count, max(2, room // CHUNK_TOKENS))
            passages = await work.chunks.list_at(document.id, places)
        if not passages:
            return None
        pieces = first_pieces(passages, 1, room)
        request = _request(model, document.title, pieces)
        try:
            answer = await self._calls.ask_structured(workspace_id, document.created_by, model, request, _ANSWER)
        except (ModelError, AnswerUnfit, NoBudgetLeft) as error:
            log.warning("document_not_described", document_id=str(document.id), model=model.name, code=error.code)
            return None
        return await asyncio.to_thread(read_enriched, answer.value, pieces)

    async def _read(self, workspace_id: UUID, document: Unenriched) -> Enriched:
        """What the text says without a model."""
        words = await asyncio.to_thread(count_words, document.text)
        usual = [word for word, _ in words.most_common(MOST_WORDS)]
        async with self._uow.reading(workspace_id) as work:
            stems = await work.enrichments.list_stems(document)
            stem_of = await work.enrichments.find_stems(usual, document.language, stems)
        heading = plain_name((document.heading or "").partition(" > ")[0])[:LONGEST_TITLE].strip()
        return Enriched(heading or None, first_sentences(document.text), keywords_of(stems, words, stem_of))


async def queue_enrichment(work: UnitOfWork, workspace_id: UUID, document_id: UUID) -> None:
    """Queue the job, in the transaction that makes the document ready."""
    await work.jobs.defer_once(
        ENRICH_TASK,
        ASSISTANT_QUEUE,
        f"enrichment:{document_id}",
        workspace_id=str(workspace_id),
        document_id=str(document_id),
    )


def _is_unnamed(document: Unenriched) -> bool:
    """Whether it is called by its file or its address, for want of a better name."""
    if document.source == "text":
        return False
    return document.title == default_title(None if document.source == "url" else document.file_name, document.url)


def _room(model: Model) -> int:
    """Tokens of text that the question can hold."""
    bare = say_schema(_request(model, "x" * LONGEST_TITLE, []), _ANSWER)
    taken = prompt_tokens(bare) + PROMPT_MARGIN_TOKENS + int(_reply_tokens(model) * MENDING_SHARE)
    return min(model.context_tokens - taken, MOST_TEXT_TOKENS)


def _places(chunks: int, wanted: int) -> list[int]:
    """Which chunks are shown: half of them from the beginning, the others from all over the rest."""
    if chunks <= wanted:
        return list(range(chunks))
    beginning = (wanted + 1) // 2
    step = (chunks - beginning) / (wanted - beginning)
    return [*range(beginning), *(beginning + int(step * number) for number in range(wanted - beginning))]


def _request(model: Model, title: str, pieces: Sequence[Piece]) -> ChatRequest:
    return ChatRequest(
        model=model.wire_name,
        messages=enriching_prompt(title, pieces),
        max_tokens=_reply_tokens(model),
        temperature=0.0,
    )


def _reply_tokens(model: Model) -> int:
    return min(REPLY_TOKENS, model.context_tokens // 4)
