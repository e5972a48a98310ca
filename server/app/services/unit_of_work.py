"""The unit of work: one short transaction, its repositories, and what is told to live viewers after it commits."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from uuid import UUID

import procrastinate
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from app.domain.events import StoredEvent
from app.repositories.accounts import AccountRepository
from app.repositories.agents import AgentRepository
from app.repositories.base import telling_outages
from app.repositories.budgets import BudgetRepository
from app.repositories.discussions import DiscussionRepository
from app.repositories.event_log import EventLogRepository
from app.repositories.jobs import JobRepository
from app.repositories.knowledge import KnowledgeRepository
from app.repositories.messages import MessageRepository

Announce = Callable[[UUID, Sequence[StoredEvent]], None]


class UnitOfWork:
    """Repositories on one transaction, scoped to one workspace."""

    def __init__(self, session: AsyncSession, workspace_id: UUID | None, queue: procrastinate.App) -> None:
        self._session = session
        self._scope = workspace_id
        self._queue = queue

    @property
    def _workspace_id(self) -> UUID:
        if self._scope is None:
            raise RuntimeError("this unit of work has no workspace")
        return self._scope

    @cached_property
    def accounts(self) -> AccountRepository:
        return AccountRepository(self._session)

    @cached_property
    def agents(self) -> AgentRepository:
        return AgentRepository(self._session, self._workspace_id)

    @cached_property
    def discussions(self) -> DiscussionRepository:
        return DiscussionRepository(self._session, self._workspace_id)

    @cached_property
    def messages(self) -> MessageRepository:
        return MessageRepository(self._session, self._workspace_id)

    @cached_property
    def knowledge(self) -> KnowledgeRepository:
        return KnowledgeRepository(self._session, self._workspace_id)

    @cached_property
    def log(self) -> EventLogRepository:
        return EventLogRepository(self._session)

    @cached_property
    def budgets(self) -> BudgetRepository:
        return BudgetRepository(self._session)

    @cached_property
    def jobs(self) -> JobRepository:
        return JobRepository(self._session, self._queue)

    async def ping(self) -> None:
        """One round trip to the database."""
        await self._session.execute(text("SELECT 1"))

    async def connection(self) -> AsyncConnection:
        """The transaction's connection, for a repository that is given one."""
        return await self._session.connection()

    async def flush(self) -> None:
        """Send pending changes, so that what they set by default can be read."""
        await self._session.flush()


class UnitOfWorkFactory:
    """Opens units of work. Leaving the block commits; an exception rolls everything back."""

    def __init__(self, engine: AsyncEngine, queue: procrastinate.App, announce: Announce) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._queue = queue
        self._announce = announce

    @asynccontextmanager
    async def __call__(self, workspace_id: UUID | None = None) -> AsyncIterator[UnitOfWork]:
        with telling_outages():
            async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
                work = UnitOfWork(session, workspace_id, self._queue)
                yield work
                await work.log.write()
        # A hint: lost, it costs viewers a poll, never an event.
        for discussion_id, events in work.log.appended.items():
            self._announce(discussion_id, events)

    @asynccontextmanager
    async def reading(self, workspace_id: UUID | None = None) -> AsyncIterator[UnitOfWork]:
        """For reading only: each query is its own transaction, which saves the round trips of a common one."""
        with telling_outages():
            async with AsyncSession(self._autocommit, expire_on_commit=False, autoflush=False) as session:
                yield UnitOfWork(session, workspace_id, self._queue)
