"""Searching what an agent may know: its own bases, and the documents of the discussion.

What is searched is fixed when the toolbox is opened. The arguments, which a model writes and a document may have talked
it into, hold nothing but a question.
"""

from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

from app.domain.documents import Passage
from app.services.providers.base import ToolSpec
from app.services.tools.arguments import faults_by
from app.services.tools.base import Arguments, Found, sayable

MOST_PASSAGES = 10
USUAL_PASSAGES = 5

Number = Callable[[Passage], int]
"""Gives a passage the number that a message cites it by; the same passage has the same number."""


class Search(Protocol):
    """Finds passages in the bases, and in the documents, that are named: in neither, nothing."""

    async def __call__(
        self, workspace_id: UUID, query: str, base_ids: Sequence[UUID], document_ids: Sequence[UUID], k: int
    ) -> list[Passage]: ...


def numbering() -> Number:
    """Count passages from 1, in the order in which they are first shown."""
    numbers: dict[UUID, int] = {}
    return lambda passage: numbers.setdefault(passage.chunk_id, len(numbers) + 1)


class KnowledgeSearchTool:
    """Gives numbered passages, for the model to cite as `[n]`."""

    name = "knowledge_search"
    spec = ToolSpec(
        name,
        "Searches the documents you were given. Answers with numbered passages; cite them as [n].",
        {
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 1_000, "description": "What to look for."},
                "k": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_PASSAGES,
                    "description": f"How many passages; {USUAL_PASSAGES} if it is left out.",
                },
            },
            "required": ["query"],
            "additionalProperties": False,
        },
    )
    faults = staticmethod(faults_by(spec.parameters))

    def __init__(
        self,
        search: Search,
        workspace_id: UUID,
        base_ids: Sequence[UUID],
        document_ids: Sequence[UUID],
        number: Number,
    ) -> None:
        self._search = search
        self._workspace_id = workspace_id
        self._base_ids = tuple(base_ids)
        self._document_ids = tuple(document_ids)
        self._number = number

    async def call(self, arguments: Arguments) -> Found:
        query = sayable(arguments["query"])
        k = arguments.get("k", USUAL_PASSAGES)
        found = await self._search(self._workspace_id, query, self._base_ids, self._document_ids, k)
        if not found:
            return Found("Nothing was found. Other words may find something.")
        return Found("\n\n".join(self._shown(passage) for passage in found), found)

    def _shown(self, passage: Passage) -> str:
        page = None if passage.page is None else f"page {passage.page}"
        source = ", ".join(filter(None, (passage.title, passage.heading, page)))
        return f"[{self._number(passage)}] {source}\n{passage.text}"
