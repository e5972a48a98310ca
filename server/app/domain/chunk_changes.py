"""What becomes of a document's chunks when its content changes: whatever says the same stays the same chunk."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ChunkChanges:
    """Chunks that stay, each with the place of its piece; places of pieces that are new; chunks that go."""

    kept: list[tuple[UUID, int]]
    added: list[int]
    gone: list[UUID]


def embedded_text(title: str, heading: str | None, text: str) -> str:
    """What a chunk is embedded as: a piece alone often does not say what it is about."""
    return "\n".join(part for part in (title, heading, text) if part)


def hash_of(embedded: str) -> bytes:
    """What says that a chunk's vectors are still right."""
    return hashlib.sha256(embedded.encode()).digest()


def changes(present: Iterable[tuple[UUID, bytes]], wanted: Sequence[bytes]) -> ChunkChanges:
    """From the chunks that are there, in their order, and the hashes of those there should be.

    Of pieces that say the same, the first is the first chunk, and so on. Asked again of what came of it, it changes
    nothing.
    """
    free: defaultdict[bytes, list[UUID]] = defaultdict(list)
    for chunk_id, content_hash in present:
        free[content_hash].append(chunk_id)
    for ids in free.values():
        ids.reverse()
    kept: list[tuple[UUID, int]] = []
    added: list[int] = []
    for place, content_hash in enumerate(wanted):
        if same := free.get(content_hash):
            kept.append((same.pop(), place))
        else:
            added.append(place)
    return ChunkChanges(kept, added, [chunk_id for ids in free.values() for chunk_id in ids])
