"""Agents and their versions."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, text, tuple_
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict, NotFound
from app.models import Agent, AgentVersion
from app.repositories.base import Repository, contains, violates

_LOCK_HANDLES = text("SELECT pg_advisory_xact_lock(hashtextextended(:workspace, 0))")


class HandleTaken(Conflict):
    """Another agent of the workspace has the handle."""

    code = "handle_taken"


class AgentRepository(Repository):
    """The workspace's agents."""

    async def save(self, agent: Agent) -> None:
        """Write the agent and its present state as a version; raise `HandleTaken`."""
        self._session.add(agent)
        handle = agent.handle  # a failed flush expires the row
        try:
            await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_agents_workspace_id_handle"):
                raise HandleTaken(f"another agent of this workspace is @{handle}") from None
            raise
        self._session.add(
            AgentVersion(
                agent_id=agent.id,
                workspace_id=self._workspace_id,
                version=agent.version,
                handle=agent.handle,
                name=agent.name,
                kind=agent.kind,
                config=agent.config,
            )
        )
        await self._session.flush()

    async def get(self, agent_id: UUID, *, for_update: bool = False) -> Agent:
        query = self._visible().where(Agent.id == agent_id)
        agent: Agent | None = await self._session.scalar(query.with_for_update() if for_update else query)
        if agent is None:
            raise NotFound("there is no such agent")
        return agent

    async def find_many(self, agent_ids: Collection[UUID]) -> dict[UUID, Agent]:
        rows = await self._session.scalars(self._visible().where(Agent.id.in_(agent_ids)))
        return {agent.id: agent for agent in rows}

    async def lock_handles(self) -> None:
        """Let nobody else derive a handle in this workspace until the unit of work ends."""
        await self._session.execute(_LOCK_HANDLES, {"workspace": f"handles of {self._workspace_id}"})

    async def taken_handles(self, prefix: str) -> set[str]:
        """Handles in use that begin with `prefix`."""
        rows = await self._session.scalars(
            select(Agent.handle).where(
                Agent.workspace_id == self._workspace_id,
                Agent.deleted_at.is_(None),
                Agent.handle.startswith(prefix, autoescape=True),
            )
        )
        return set(rows)

    async def list_page(
        self, *, words: str | None, kind: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Agent], str | None]:
        query = self._visible()
        if words:
            query = query.where(or_(Agent.name.ilike(contains(words)), Agent.handle.ilike(contains(words))))
        if kind:
            query = query.where(Agent.kind == kind)
        return await self._page(query, Agent.id, limit, cursor)

    async def list_versions(self, agent_id: UUID, limit: int, below: int | None) -> list[AgentVersion]:
        """Newest first, those below version `below`."""
        query = self._versions(agent_id)
        if below is not None:
            query = query.where(AgentVersion.version < below)
        return list(await self._session.scalars(query.order_by(AgentVersion.version.desc()).limit(limit)))

    async def get_version(self, agent_id: UUID, version: int) -> AgentVersion:
        found: AgentVersion | None = await self._session.scalar(
            self._versions(agent_id).where(AgentVersion.version == version)
        )
        if found is None:
            raise NotFound("there is no such version of this agent")
        return found

    async def pinned_configs(self, pins: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], dict[str, Any]]:
        """The configs of pinned versions, those of deleted agents too."""
        rows = await self._session.scalars(
            select(AgentVersion).where(
                AgentVersion.workspace_id == self._workspace_id,
                tuple_(AgentVersion.agent_id, AgentVersion.version).in_(pins),
            )
        )
        return {(row.agent_id, row.version): row.config for row in rows}

    def _visible(self) -> Any:
        return select(Agent).where(Agent.workspace_id == self._workspace_id, Agent.deleted_at.is_(None))

    def _versions(self, agent_id: UUID) -> Any:
        return select(AgentVersion).where(
            AgentVersion.workspace_id == self._workspace_id, AgentVersion.agent_id == agent_id
        )
