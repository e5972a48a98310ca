"""Which kinds of things a transaction has changed, and the stamps that tell of it.

Always holds: what a transaction changes through the ORM, by objects or by statements about a mapped class, is noticed
by its session, so that no repository can forget it; one that writes SQL of its own says so with `note_change`. The
stamps are the last thing that is written before the commit, in one order, so that their locks are held shortly and
never crosswise. So whoever reads a stamp, and then what it stands for, reads nothing older than the stamp.
"""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction

from app.domain.kinds import Kind
from app.models import Agent, Chunk, ChunkEmbedding, Document, KnowledgeBase, Provider
from app.models.base import Base

_KINDS: dict[type[Base], frozenset[Kind]] = {
    Agent: frozenset({Kind.AGENTS}),
    KnowledgeBase: frozenset({Kind.BASES, Kind.DOCUMENTS, Kind.PASSAGES}),
    Document: frozenset({Kind.DOCUMENTS, Kind.PASSAGES}),
    Chunk: frozenset({Kind.PASSAGES}),
    ChunkEmbedding: frozenset({Kind.PASSAGES}),
    Provider: frozenset({Kind.PASSAGES}),
}
_NOTED = "arena.changes"
_STAMP = text(
    """
    INSERT INTO resource_versions (workspace_id, kind, stamp)
    SELECT :workspace_id, kind, gen_random_uuid() FROM unnest(CAST(:kinds AS text[])) AS kind ORDER BY kind
    ON CONFLICT (workspace_id, kind) DO UPDATE SET stamp = excluded.stamp
    """
)

KindOf = tuple[UUID, Kind]
"""A workspace's things of one kind."""


class WatchedSession(Session):
    """Notices what is changed through it."""


@event.listens_for(WatchedSession, "after_flush")
def _note_objects(session: Session, _context: UOWTransaction) -> None:
    for thing in (*session.new, *session.dirty, *session.deleted):
        for kind in _KINDS.get(type(thing), ()):
            _noted(session).add((thing.workspace_id, kind))


@event.listens_for(WatchedSession, "do_orm_execute")
def _note_statement(state: ORMExecuteState) -> None:
    if state.is_select or state.bind_mapper is None:
        return
    for kind in _KINDS.get(state.bind_mapper.class_, ()):
        _noted(state.session).add((None, kind))


def note_change(session: AsyncSession, *kinds: Kind) -> None:
    """Say that SQL which the session cannot read changed things of these kinds, in its unit of work's workspace."""
    _noted(session.sync_session).update((None, kind) for kind in kinds)


def _noted(session: Session) -> set[tuple[UUID | None, Kind]]:
    noted: set[tuple[UUID | None, Kind]] = session.info.setdefault(_NOTED, set())
    return noted


async def stamp_changes(session: AsyncSession, workspace_id: UUID | None) -> None:
    """Give each kind that was changed since the last call a new stamp; the unit of work does so before it commits."""
    await session.flush()
    noted = session.info.pop(_NOTED, None)
    if not noted:
        return
    kinds = {(owner or workspace_id, kind) for owner, kind in noted}
    for owner in sorted({owner for owner, _ in kinds if owner is not None}):
        await session.execute(
            _STAMP, {"workspace_id": owner, "kinds": sorted(kind for of, kind in kinds if of == owner)}
        )


async def stamps_of(cursor: AsyncCursor[Any], asked: Collection[KindOf]) -> dict[KindOf, UUID]:
    """The stamp of each; what has never changed is left out."""
    workspaces, kinds = _array(owner for owner, _ in asked), _array(kind for _, kind in asked)
    await cursor.execute(
        "SELECT workspace_id, kind, stamp FROM arena_resource_stamps(%s::text::uuid[], %s::text::text[])",
        (workspaces, kinds),
    )
    return {(owner, Kind(kind)): stamp for owner, kind, stamp in await cursor.fetchall()}


def _array(values: Iterable[object]) -> str:
    """Of ids or kinds, which hold nothing that would have to be escaped: psycopg's own arrays cost much more."""
    return "{" + ",".join(map(str, values)) + "}"
