"""Search by words: each counts by how rare it is among what is searched."""

from collections.abc import Collection
from dataclasses import dataclass
from math import log
from uuid import UUID

from cachetools import TTLCache

from app.repositories.passages import COUNTED, Sample, Terms, Weighed, lexeme_query
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

SAMPLES_KEPT, SAMPLE_SECONDS = 200, 300
READ_AT_MOST = 6_000
"""Chunks are read for a query's words, the rarest words' first."""
FREQUENT = 5_000


@dataclass(frozen=True, slots=True)
class Searched:
    """The bases that are searched, at least one, and only some of their documents if any are named."""

    base_ids: Collection[UUID]
    document_ids: Collection[UUID] = ()


class KeywordSearch:
    """In each language that is searched, the query's words are what that language makes of them.

    How often words are is counted among few chunks each time; among many it is known from a sample, which is taken
    anew after `SAMPLE_SECONDS`.
    """

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._samples: TTLCache[tuple[UUID, frozenset[UUID], str], Sample] = TTLCache(SAMPLES_KEPT, SAMPLE_SECONDS)

    async def find(
        self, workspace_id: UUID, searched: Searched, terms: Collection[Terms], most: int
    ) -> list[tuple[UUID, float]]:
        """(chunk, score), best first. No query fails; one without words finds nothing."""
        found: list[tuple[UUID, float]] = []
        for spoken in terms:
            if not spoken.lexemes:
                continue
            async with self._uow.reading(workspace_id) as work:
                weighed = await self._weigh(work, workspace_id, searched, spoken)
                found += await work.passages.find(searched.base_ids, searched.document_ids, spoken, weighed, most)
        return sorted(found, key=lambda hit: -hit[1])[:most]

    async def _weigh(self, work: UnitOfWork, workspace_id: UUID, searched: Searched, terms: Terms) -> Weighed:
        if terms.chunks <= COUNTED:
            queries = list(map(lexeme_query, terms.lexemes))
            return Weighed(queries, [None] * len(queries), len(queries), terms.chunks)
        key = (workspace_id, frozenset(searched.base_ids), terms.language)
        sample = self._samples.get(key)
        if sample is None:
            sample = self._samples[key] = await work.passages.sample(searched.base_ids, terms.language)
        return weigh_by_sample(terms, sample)


def weigh_by_sample(terms: Terms, sample: Sample) -> Weighed:
    """The rarest words lead to chunks, until enough would be read; the others only tell these apart.

    Where even the rarest is frequent, chunks that have the four rarest come first.
    """
    scale = sample.total / max(1, sample.sampled)
    expected = sorted((sample.chunks_with.get(lexeme, 1) * scale, lexeme) for lexeme in terms.lexemes)
    weighed: list[tuple[str, float | None]] = []
    leading, read = 0, 0.0
    if expected[0][0] > FREQUENT and len(expected) > 1:
        rarest = [lexeme_query(lexeme) for _, lexeme in expected[:4]]
        weighed.append((" & ".join(rarest), _rarity(expected[0][0], sample.total)))
        leading = 1
    for chunks, lexeme in expected:
        leads = leading == 0 or read + chunks <= READ_AT_MOST
        if leads:
            leading, read = leading + 1, read + chunks
        is_counted = leads and lexeme not in sample.chunks_with
        weighed.append((lexeme_query(lexeme), None if is_counted else _rarity(chunks, sample.total)))
    return Weighed([term for term, _ in weighed], [weight for _, weight in weighed], leading, sample.total)


def _rarity(chunks: float, total: float) -> float:
    """Inverse document frequency, as BM25 has it."""
    return log(1 + max(0.0, total - chunks + 0.5) / (chunks + 0.5))
