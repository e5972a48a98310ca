"""What a turn rests on, fetched once before it: passages of documents, memories, the running summary.

Always holds: a turn waits for this no longer than `RESEARCH_SECONDS` (the first of a process `FIRST_SECONDS`) and never
fails for it; what did not come in time, or failed, is left out and logged. No transaction is open meanwhile but for the
short reads made here. An agent without documents, knowledge and memory, in a discussion that fits its prompt, costs
nothing.
"""

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog

from app.core.errors import ArenaError
from app.domain.context import DOCUMENT_SHARE, WHOLE_BESIDE_SHARE, fit_whole
from app.domain.documents import Passage
from app.domain.grounding import NOTHING, Ground, Remembered
from app.domain.policies import Brief
from app.services.knowledge.search import SearchFor
from app.services.turns.table_state import AgentSeat, TableState
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")

RESEARCH_SECONDS = 2.0
FIRST_SECONDS = 10.0
"""Until the first search of this process has succeeded, which loads a model for it."""
PASSAGES, MEMORIES = 8, 6
FIXED_SHARE = 0.1
"""Of a prompt, that the persona and the call take, roughly."""
LEAST_NUMBERED_TOKENS = 2000
"""A prompt of fewer holds whole documents without numbers: models of so small a window do not cite, and repeat the
numbers instead of what they stand for (as SmolLM2-135M does)."""
LONG_SHARE = 0.4
"""Of a prompt: messages that take more may not all be in it."""


class Search(Protocol):
    """Finds passages of a workspace's documents, the best first."""

    async def find(self, workspace_id: UUID, wanted: SearchFor) -> Sequence[Passage]: ...


class Recall(Protocol):
    """Finds what an agent remembers of a matter, the best first."""

    async def recall(self, workspace_id: UUID, agent_id: UUID, about: str, k: int) -> Sequence[Remembered]: ...


class Summaries(Protocol):
    """Finds the running summary of a discussion."""

    async def __call__(self, workspace_id: UUID, discussion_id: UUID) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """For whom something is looked up: one turn of an agent, in a prompt of at most so many tokens."""

    workspace_id: UUID
    discussion_id: UUID
    table: TableState
    agent: AgentSeat
    brief: Brief
    prompt_tokens: int


@dataclass(slots=True)
class Research:
    """Looks up what turns rest on; what is None is not there to be asked."""

    uow: UnitOfWorkFactory
    search: Search | None = None
    recall: Recall | None = None
    summaries: Summaries | None = None
    seconds: float = RESEARCH_SECONDS
    first_seconds: float = FIRST_SECONDS
    _has_searched: bool = False

    async def ground(self, asked: Asked) -> Ground:
        """All that there is for the turn."""
        long = _long_documents(asked)
        if not (asked.table.documents or long or self._must_look_up(asked)):
            return NOTHING
        bases, documents, memories, summary = await self._look_up(asked, long)
        left_out = frozenset(long if documents else ())
        is_numbered = bases or documents or asked.prompt_tokens >= LEAST_NUMBERED_TOKENS
        parts = {
            one.document_id: asked.table.numbers.parts(one.document_id, one.title, one.text, one.page_starts)
            for one in asked.table.documents
            if is_numbered and one.document_id is not None and one.document_id not in left_out
        }
        passages = [one for one in _joined(bases, documents) if one.document_id not in parts]
        return Ground(
            parts=parts,
            passages=asked.table.numbers.passages(passages, await self._page_starts(asked, passages)),
            left_out=left_out,
            memories=memories,
            summary=summary,
            has_forgotten=asked.table.has_forgotten,
        )

    def _must_look_up(self, asked: Asked) -> bool:
        config = asked.agent.config
        return bool(
            (self.search is not None and config.knowledge_base_ids)
            or (self.recall is not None and config.memory.long_term)
            or (self.summaries is not None and _needs_summary(asked))
        )

    async def _look_up(
        self, asked: Asked, long: Sequence[UUID]
    ) -> tuple[Sequence[Passage], Sequence[Passage], Sequence[Remembered], str | None]:
        if not (long or self._must_look_up(asked)):
            return (), (), (), None
        about = asked.table.about(asked.agent, asked.brief)
        bases = asked.agent.config.knowledge_base_ids
        in_bases = SearchFor(about, bases, k=PASSAGES, is_prose=True) if bases else None
        in_documents = SearchFor(about, document_ids=long, k=PASSAGES, is_prose=True) if long else None
        seconds = self.seconds if self._has_searched else self.first_seconds
        return await asyncio.gather(
            self._in_time("bases", self._found(asked, in_bases), (), seconds),
            self._in_time("documents", self._found(asked, in_documents), (), seconds),
            self._in_time("memories", self._memories(asked, about), ()),
            self._in_time("summary", self._summary(asked), None),
        )

    async def _found(self, asked: Asked, wanted: SearchFor | None) -> Sequence[Passage]:
        if self.search is None or wanted is None:
            return ()
        found = await self.search.find(asked.workspace_id, wanted)
        self._has_searched = True
        return found

    async def _memories(self, asked: Asked, about: str) -> Sequence[Remembered]:
        agent = asked.agent
        if self.recall is None or not agent.config.memory.long_term or agent.agent_id is None:
            return ()
        return await self.recall.recall(asked.workspace_id, agent.agent_id, about, MEMORIES)

    async def _summary(self, asked: Asked) -> str | None:
        if self.summaries is None or not _needs_summary(asked):
            return None
        return await self.summaries(asked.workspace_id, asked.discussion_id)

    async def _page_starts(self, asked: Asked, passages: Sequence[Passage]) -> Mapping[UUID, Sequence[int]]:
        """Without them, a citation names the page on which its passage begins."""
        paged = {one.document_id for one in passages if one.page is not None}
        return await self._in_time("pages", self._read_page_starts(asked, paged), {}) if paged else {}

    async def _read_page_starts(self, asked: Asked, document_ids: Collection[UUID]) -> Mapping[UUID, Sequence[int]]:
        async with self.uow.reading(asked.workspace_id) as work:
            return await work.knowledge.find_page_starts(document_ids)

    async def _in_time(self, what: str, errand: Coroutine[Any, Any, T], nothing: T, seconds: float | None = None) -> T:
        """What the errand brings, or nothing where it fails or takes too long."""
        try:
            async with asyncio.timeout(self.seconds if seconds is None else seconds):
                return await errand
        except Exception as error:  # whatever it is: the turn can be taken without
            reason = error.code if isinstance(error, ArenaError) else type(error).__name__
            log.warning("research_failed", what=what, reason=reason)
            return nothing


def _long_documents(asked: Asked) -> list[UUID]:
    """Those of the discussion's documents that do not fit the prompt whole."""
    documents = asked.table.documents
    if not documents:
        return []
    share = WHOLE_BESIDE_SHARE if asked.agent.config.knowledge_base_ids else DOCUMENT_SHARE
    room = int(asked.prompt_tokens * (1 - FIXED_SHARE) * share)
    whole = fit_whole(asked.table.document_tokens, room)
    return [
        one.document_id
        for number, one in enumerate(documents)
        if one.document_id is not None and (number not in whole or not one.is_whole)
    ]


def _needs_summary(asked: Asked) -> bool:
    """Whether the prompt may not hold all that was said, and all may know of it what all were told."""
    table, brief = asked.table, asked.brief
    if brief.blind_since is not None or brief.is_anonymous:
        return False
    return table.has_forgotten or table.transcript_tokens > asked.prompt_tokens * LONG_SHARE


def _joined(*rankings: Sequence[Passage]) -> list[Passage]:
    """The best of each in turn, each passage once."""
    joined: dict[UUID, Passage] = {}
    for rank in range(max(map(len, rankings))):
        for ranking in rankings:
            if rank < len(ranking):
                joined.setdefault(ranking[rank].chunk_id, ranking[rank])
    return list(joined.values())
