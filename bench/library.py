"""A workspace with a knowledge base, filled and searched through the API, as its callers do."""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bench.installation import Installation

AT_ONCE = 8
LONGEST_TITLE, LONGEST_QUERY = 200, 2_000
TOLD_EVERY = 500
_LEFT = (
    "SELECT count(*) FILTER (WHERE status IN ('queued', 'processing')), count(*) FILTER (WHERE status = 'failed'),"
    " min(error) FROM documents WHERE workspace_id = %s"
)
_CHUNKS = "SELECT count(*) FROM chunks WHERE workspace_id = %s"


def tell(words: str) -> None:
    """Progress, beside what is measured."""
    print(words, file=sys.stderr, flush=True)


@dataclass
class Library:
    """`documents`: what the caller calls the document of each id; several where two say the same."""

    arena: Installation
    workspace_id: str
    base_id: str = ""
    documents: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    async def open(cls, arena: Installation, name: str) -> "Library":
        workspace = await arena.call("POST", "/workspaces", {"name": name})
        library = cls(arena, workspace["id"])
        library.base_id = (await library.call("POST", "/knowledge/bases", {"name": name}))["id"]
        return library

    async def call(self, method: str, path: str, body: object = None) -> Any:
        return await self.arena.call(method, path, body, headers={"X-Workspace-ID": self.workspace_id})

    async def take_in(self, texts: Iterable[tuple[str, str, str]]) -> float:
        """Hand in (name, title, text) and wait until all are read; how many seconds it took, handing in included."""
        began = time.perf_counter()
        waiting = iter(texts)
        await asyncio.gather(*(self._hand_in(waiting) for _ in range(AT_ONCE)))
        while left := await asyncio.to_thread(self._left):
            tell(f"  {left} documents to go after {time.perf_counter() - began:.0f} s")
            await asyncio.sleep(1)
        return time.perf_counter() - began

    async def _hand_in(self, waiting: Iterator[tuple[str, str, str]]) -> None:
        for name, title, text in waiting:
            body = {"title": _line(title) or _line(text) or "-", "text": text if text.strip() else title}
            made = await self.call("POST", f"/knowledge/bases/{self.base_id}/documents", body)
            self.documents.setdefault(made["id"], []).append(name)
            if len(self.documents) % TOLD_EVERY == 0:
                tell(f"  {len(self.documents)} documents handed in")

    def _left(self) -> int:
        left, failed, error = self._ask(_LEFT)
        if failed and not left:
            tell(f"  {failed} documents could not be read: {error}")
        return int(left)

    def chunks(self) -> int:
        return int(self._ask(_CHUNKS)[0])

    def _ask(self, question: str) -> tuple[Any, ...]:
        with psycopg.connect(self.arena.database_url) as connection:
            row = connection.execute(question.encode(), [self.workspace_id]).fetchone()
            assert row is not None
            return row

    async def search(self, query: str, mode: str, k: int) -> list[dict[str, Any]]:
        body = {"query": query[:LONGEST_QUERY], "base_ids": [self.base_id], "mode": mode, "k": k}
        items: list[dict[str, Any]] = (await self.call("POST", "/knowledge/search", body))["items"]
        return items

    async def timed(self, queries: Iterable[str], mode: str = "hybrid", k: int = 10) -> list[float]:
        """Milliseconds that each search took, as the caller saw it, one after the other; the shortest first."""
        times = []
        for query in queries:
            began = time.perf_counter()
            await self.search(query, mode, k)
            times.append((time.perf_counter() - began) * 1000)
        return sorted(times)

    def names(self, items: Iterable[dict[str, Any]]) -> list[str]:
        """The documents of these passages, each once, in the order of their best ones."""
        return list(dict.fromkeys(name for item in items for name in self.documents[item["document_id"]]))


def _line(text: str) -> str:
    """The text's beginning, as a title may be."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 2 * LONGEST_TITLE])
    return " ".join(printable.split())[:LONGEST_TITLE].strip()
