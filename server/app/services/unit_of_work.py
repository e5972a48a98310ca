"""The unit of work: one short transaction, its repositories, and what is told to live viewers after it commits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cached_property
from time import monotonic
from uuid import UUID

import procrastinate
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from app.core.clock import utc_now
from app.core.database import bare_driver, rescope, scope_to
from app.core.tenant_connection import TenantConnection
from app.domain.events import StoredEvent
from app.repositories.accounts import AccountRepository
from app.repositories.agents import AgentRepository
from app.repositories.api_keys import ApiKeyRepository
from app.repositories.audit import AuditRepository
from app.repositories.base import telling_outages
from app.repositories.budgets import BudgetRepository
from app.repositories.changes import WatchedSession, stamp_changes
from app.repositories.chunks import ChunkRepository
from app.repositories.credentials import CredentialRepository
from app.repositories.discussions import DiscussionRepository
from app.repositories.documents import DocumentRepository
from app.repositories.enrichments import EnrichmentRepository
from app.repositories.event_log import EventLogRepository
from app.repositories.extractions import ExtractionRepository
from app.repositories.idempotency import IdempotencyRepository
from app.repositories.identities import IdentityRepository
from app.repositories.jobs import JobRepository
from app.repositories.knowledge import KnowledgeRepository
from app.repositories.memories import MemoryRepository
from app.repositories.message_pages import MessagePageRepository
from app.repositories.messages import MessageRepository
from app.repositories.originals import LeftOvers, OriginalRepository
from app.repositories.passages import PassageRepository
from app.repositories.providers import ProviderRepository, ProviderStateRepository
from app.repositories.sealed_values import SealedValueRepository
from app.repositories.sessions import SessionRepository
from app.repositories.signing_keys import SigningKeyRepository
from app.repositories.status_changes import StatusChangeRepository
from app.repositories.summaries import SummaryRepository
from app.repositories.tool_servers import ToolServerRepository
from app.repositories.users import UserRepository
from app.repositories.vectors import VectorRepository
from app.repositories.workspaces import WorkspaceRepository

Announce = Callable[[UUID, Sequence[StoredEvent]], None]

CLOCK_SECONDS = 10.0


class UnitOfWork:
    """Repositories on one transaction, scoped to one workspace; `now()` is the time by the database's clock."""

    def __init__(
        self,
        session: AsyncSession,
        workspace_id: UUID | None,
        queue: procrastinate.App,
        clock: "DatabaseClock",
        session_idle: timedelta,
    ) -> None:
        self._session = session
        self._scope = workspace_id
        self._queue = queue
        self._session_idle = session_idle
        self.now = clock.now

    @property
    def _workspace_id(self) -> UUID:
        if self._scope is None:
            raise RuntimeError("this unit of work has no workspace")
        return self._scope

    @cached_property
    def accounts(self) -> AccountRepository:
        return AccountRepository(self._session, self._session_idle)

    @cached_property
    def sessions(self) -> SessionRepository:
        return SessionRepository(self._session, self._session_idle)

    @cached_property
    def credentials(self) -> CredentialRepository:
        return CredentialRepository(self._session)

    @cached_property
    def api_keys(self) -> ApiKeyRepository:
        return ApiKeyRepository(self._session)

    @cached_property
    def identities(self) -> IdentityRepository:
        return IdentityRepository(self._session)

    @cached_property
    def users(self) -> UserRepository:
        return UserRepository(self._session)

    @cached_property
    def workspaces(self) -> WorkspaceRepository:
        return WorkspaceRepository(self._session)

    @cached_property
    def audit(self) -> AuditRepository:
        return AuditRepository(self._session)

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
    def message_pages(self) -> MessagePageRepository:
        return MessagePageRepository(self._session, self._workspace_id)

    @cached_property
    def knowledge(self) -> KnowledgeRepository:
        return KnowledgeRepository(self._session, self._workspace_id)

    @cached_property
    def enrichments(self) -> EnrichmentRepository:
        return EnrichmentRepository(self._session, self._workspace_id)

    @cached_property
    def extractions(self) -> ExtractionRepository:
        return ExtractionRepository(self._session, self._workspace_id)

    @cached_property
    def passages(self) -> PassageRepository:
        return PassageRepository(self._session, self._workspace_id)

    @cached_property
    def vectors(self) -> VectorRepository:
        return VectorRepository(self._session, self._workspace_id)

    @cached_property
    def memories(self) -> MemoryRepository:
        return MemoryRepository(self._session, self._workspace_id)

    @cached_property
    def summaries(self) -> SummaryRepository:
        return SummaryRepository(self._session, self._workspace_id)

    @cached_property
    def documents(self) -> DocumentRepository:
        return DocumentRepository(self._session, self._workspace_id)

    @cached_property
    def chunks(self) -> ChunkRepository:
        return ChunkRepository(self._session, self._workspace_id)

    @cached_property
    def originals(self) -> OriginalRepository:
        return OriginalRepository(self._session, self._workspace_id)

    @cached_property
    def left_overs(self) -> LeftOvers:
        return LeftOvers(self._session)

    @cached_property
    def providers(self) -> ProviderRepository:
        return ProviderRepository(self._session, self._workspace_id)

    @cached_property
    def tool_servers(self) -> ToolServerRepository:
        return ToolServerRepository(self._session, self._workspace_id)

    @cached_property
    def provider_state(self) -> ProviderStateRepository:
        return ProviderStateRepository(self._session)

    @cached_property
    def signing_keys(self) -> SigningKeyRepository:
        return SigningKeyRepository(self._session)

    @cached_property
    def sealed_values(self) -> SealedValueRepository:
        return SealedValueRepository(self._session)

    @cached_property
    def log(self) -> EventLogRepository:
        return EventLogRepository(self._session)

    @cached_property
    def status_changes(self) -> StatusChangeRepository:
        return StatusChangeRepository(self._session)

    @cached_property
    def budgets(self) -> BudgetRepository:
        return BudgetRepository(self._session)

    @cached_property
    def idempotency(self) -> IdempotencyRepository:
        return IdempotencyRepository(self._session)

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


def _session(engine: AsyncEngine) -> AsyncSession:
    return AsyncSession(engine, expire_on_commit=False, sync_session_class=WatchedSession)


class DatabaseClock:
    """The database's time, which deadlines are kept by: asked now and then, and counted on by a steady clock.

    So it costs no round trip, and a jump of this machine's own clock does not matter.
    """

    def __init__(self) -> None:
        self._asked_at = -CLOCK_SECONDS
        self._told = utc_now()

    def now(self) -> datetime:
        return self._told + timedelta(seconds=monotonic() - self._asked_at)

    async def keep_right(self, session: AsyncSession) -> None:
        """Ask anew, if it is time to."""
        if monotonic() - self._asked_at < CLOCK_SECONDS:
            return
        told: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
        self._told, self._asked_at = told, monotonic()


class JointWork:
    """Several units of work in one transaction, which commits as a whole or not at all.

    Each is a savepoint, so that one that fails takes only itself back. Nothing connects before the first.
    """

    def __init__(self, engine: AsyncEngine, announce: Announce) -> None:
        self.session = _session(engine)
        self.task = asyncio.current_task()
        self._announce = announce
        self._appended: list[tuple[UUID, Sequence[StoredEvent]]] = []
        self._scope: UUID | None = None
        self._has_begun = False

    async def enter(self, workspace_id: UUID | None) -> None:
        """Let the transaction see the workspace's rows from here on."""
        connection = await self.session.connection()
        if not self._has_begun:
            await scope_to(connection, workspace_id)
        elif workspace_id != self._scope:
            await rescope(connection, workspace_id)
        self._has_begun, self._scope = True, workspace_id

    def tell_later(self, appended: Mapping[UUID, Sequence[StoredEvent]]) -> None:
        self._appended += appended.items()

    async def commit(self) -> None:
        with telling_outages():
            await self.session.commit()
        for discussion_id, events in self._appended:
            self._announce(discussion_id, events)


_JOINT: ContextVar[JointWork | None] = ContextVar("joint_work", default=None)


def _joint_of_this_task() -> JointWork | None:
    """None also in a task that was begun while there was one: it goes on when that is over."""
    joint = _JOINT.get()
    return joint if joint is not None and joint.task is asyncio.current_task() else None


class UnitOfWorkFactory:
    """Opens units of work. Leaving the block commits; an exception rolls everything back."""

    def __init__(
        self, engine: AsyncEngine, queue: procrastinate.App, announce: Announce, session_idle: timedelta
    ) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._session_idle = session_idle
        self._queue = queue
        self._announce = announce
        self._clock = DatabaseClock()

    @asynccontextmanager
    async def __call__(self, workspace_id: UUID | None = None) -> AsyncIterator[UnitOfWork]:
        joint = _joint_of_this_task()
        if joint is not None:
            async with self._part_of(joint, workspace_id) as work:
                yield work
            return
        with telling_outages():
            async with _session(self._engine) as session, session.begin():
                await scope_to(await session.connection(), workspace_id)
                async with self._work(session, workspace_id) as work:
                    yield work
        # A hint: lost, it costs viewers a poll, never an event.
        for discussion_id, events in work.log.appended.items():
            self._announce(discussion_id, events)

    @asynccontextmanager
    async def reading(self, workspace_id: UUID | None = None) -> AsyncIterator[UnitOfWork]:
        """For reading only: each query is its own transaction, which saves the round trips of a common one."""
        joint = _joint_of_this_task()
        if joint is not None:
            async with self._part_of(joint, workspace_id) as work:
                yield work
            return
        with telling_outages():
            async with AsyncSession(self._autocommit, expire_on_commit=False, autoflush=False) as session:
                await scope_to(await session.connection(), workspace_id)
                yield UnitOfWork(session, workspace_id, self._queue, self._clock, self._session_idle)

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[TenantConnection]:
        """The driver's own connection, which sees no workspace's rows: each statement is its own transaction.

        For what is asked so often that a session would cost more than the statement.
        """
        with telling_outages():
            async with bare_driver(self._autocommit) as driver:
                yield driver

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[JointWork]:
        """In the block, all units of work of this task are one, until it is committed; what is not is undone."""
        joint = JointWork(self._engine, self._announce)
        token = _JOINT.set(joint)
        try:
            async with joint.session:
                yield joint
        finally:
            _JOINT.reset(token)

    @asynccontextmanager
    async def _part_of(self, joint: JointWork, workspace_id: UUID | None) -> AsyncIterator[UnitOfWork]:
        with telling_outages():
            await joint.enter(workspace_id)
            async with joint.session.begin_nested(), self._work(joint.session, workspace_id) as work:
                yield work
        joint.tell_later(work.log.appended)

    @asynccontextmanager
    async def _work(self, session: AsyncSession, workspace_id: UUID | None) -> AsyncIterator[UnitOfWork]:
        await self._clock.keep_right(session)
        work = UnitOfWork(session, workspace_id, self._queue, self._clock, self._session_idle)
        yield work
        await work.jobs.write()
        await work.log.write()
        await stamp_changes(session, workspace_id)
