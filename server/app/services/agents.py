"""Agents: create, change by versions, delete."""

from collections.abc import AsyncGenerator
from uuid import UUID

from pydantic import AnyHttpUrl

from app.config import ToolSettings
from app.core.clock import utc_now
from app.core.cursors import decode_numbers, encode_cursor
from app.core.errors import Invalid, NotFound, PreconditionFailed, located
from app.core.ids import new_id
from app.core.json_schema import compile_schema
from app.core.outgoing import Outgoing
from app.core.webhooks import WebhookSigner
from app.domain.audit import Action
from app.domain.context import Matter, Speaker, Utterance, build_prompt
from app.domain.handles import derive_handle, free_handle
from app.models import Agent, AgentVersion
from app.schemas.agent import AgentConfig, AgentCreate, AgentPreview, AgentRead, AgentUpdate
from app.schemas.base import Page
from app.services.ai_models import ModelCatalog, WorkspaceModels
from app.services.callers import Actor
from app.services.prompts import chat_request
from app.services.providers.base import Finished, TextDelta
from app.services.tools.names import check_names, servers_in
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

VERSIONS = "versions"


class KnowledgeBaseNotFound(NotFound):
    """An agent names a knowledge base that its workspace does not have."""

    code = "knowledge_base_not_found"


class NotPreviewable(Invalid):
    """Only agents with a model answer here."""

    code = "not_previewable"
    where = ("path", "agent_id")


def read_agent(agent: Agent, version: AgentVersion | None = None) -> AgentRead:
    """The agent as it is, or as it was at `version`."""
    shown = version or agent
    config = AgentConfig.model_validate(shown.config)
    fields = {name: getattr(config, name) for name in AgentConfig.model_fields}
    fields["endpoint_url"] = str(config.endpoint_url) if config.endpoint_url else None
    return AgentRead(
        id=agent.id,
        version=shown.version,
        name=shown.name,
        handle=shown.handle,
        kind=shown.kind,
        created_at=agent.created_at,
        updated_at=version.created_at if version else agent.updated_at,
        **fields,
    )


class AgentService:
    """The workspace's agents."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        models: ModelCatalog,
        outgoing: Outgoing,
        signer: WebhookSigner,
        tools: ToolSettings,
    ) -> None:
        self._uow = uow
        self._models = models
        self._outgoing = outgoing
        self._signer = signer
        self._tools = tools

    async def create(self, actor: Actor, request: AgentCreate) -> AgentRead:
        """Add an agent at version 1; a handle asked for must be free, a derived one is made so.

        Only here is an external agent's webhook secret shown.
        """
        config = request.config()
        await self._check_endpoint(config.endpoint_url)
        models = await self._models.of(actor.workspace_id, config.model, *config.model_fallbacks)
        async with self._uow(actor.workspace_id) as work:
            await self._check(work, config, models)
            handle = request.handle
            if handle is None:
                await work.agents.lock_handles()
                wanted = derive_handle(request.name)
                handle = free_handle(wanted, await work.agents.taken_handles(wanted[:24]))
            agent = Agent(
                id=new_id(),
                workspace_id=actor.workspace_id,
                handle=handle,
                name=request.name,
                kind=request.kind,
                version=1,
                config=config.model_dump(mode="json"),
                created_by=actor.user_id,
            )
            await work.agents.save(agent)
        secret = self._signer.secret_of(agent.id) if agent.kind == "external" else None
        return read_agent(agent).model_copy(update={"webhook_secret": secret})

    async def get(self, actor: Actor, agent_id: UUID) -> AgentRead:
        async with self._uow.reading(actor.workspace_id) as work:
            return read_agent(await work.agents.get(agent_id))

    async def list_page(
        self, actor: Actor, *, text: str | None, kind: str | None, limit: int, cursor: str | None
    ) -> Page[AgentRead]:
        """Newest first; `text` is looked for in names and handles."""
        async with self._uow.reading(actor.workspace_id) as work:
            rows, following = await work.agents.list_page(words=text, kind=kind, limit=limit, cursor=cursor)
        return Page(items=[read_agent(row) for row in rows], next_cursor=following)

    async def update(
        self, actor: Actor, agent_id: UUID, request: AgentUpdate, expected_version: int | None
    ) -> AgentRead:
        """Make a new version; running discussions keep the one they pinned."""
        await self._check_endpoint(request.endpoint_url)
        models = await self._models.of(actor.workspace_id, request.model, *(request.model_fallbacks or []))
        async with self._uow(actor.workspace_id) as work:
            agent = await work.agents.get(agent_id, for_update=True)
            if expected_version is not None and agent.version != expected_version:
                raise PreconditionFailed(f"the agent is at version {agent.version} by now")
            changed = request.model_fields_set
            if not changed:
                return read_agent(agent)
            try:
                config = request.apply_to(agent.kind, AgentConfig.model_validate(agent.config))  # type: ignore[arg-type]
            except ValueError as error:
                raise Invalid(str(error)) from None
            await self._check(work, config, models)
            agent.config = config.model_dump(mode="json")
            agent.name = request.name or agent.name
            agent.handle = request.handle or agent.handle
            agent.version += 1
            await work.agents.save(agent)
        return read_agent(agent)

    async def delete(self, actor: Actor, agent_id: UUID) -> None:
        """Hide the agent, free its handle and have it forget all; discussions keep their pinned version."""
        async with self._uow(actor.workspace_id) as work:
            agent = await work.agents.get(agent_id, for_update=True)
            agent.deleted_at = utc_now()
            await work.memories.forget_all(agent_id)
            work.audit.record(Action.AGENT_DELETED, actor, agent_id)

    async def list_versions(self, actor: Actor, agent_id: UUID, limit: int, cursor: str | None) -> Page[AgentRead]:
        """Newest first."""
        below = decode_numbers(cursor, VERSIONS)[0] if cursor is not None else None
        async with self._uow.reading(actor.workspace_id) as work:
            agent = await work.agents.get(agent_id)
            rows = await work.agents.list_versions(agent_id, limit + 1, below)
        following = encode_cursor(VERSIONS, rows[limit - 1].version) if len(rows) > limit else None
        return Page(items=[read_agent(agent, row) for row in rows[:limit]], next_cursor=following)

    async def get_version(self, actor: Actor, agent_id: UUID, version: int) -> AgentRead:
        async with self._uow.reading(actor.workspace_id) as work:
            agent = await work.agents.get(agent_id)
            return read_agent(agent, await work.agents.get_version(agent_id, version))

    async def preview(
        self, actor: Actor, agent_id: UUID, request: AgentPreview
    ) -> AsyncGenerator[TextDelta | Finished, None]:
        """Begin one reply of the agent; the generator streams it, nothing is stored."""
        agent = await self.get(actor, agent_id)
        if agent.model is None:
            raise NotPreviewable("only an llm agent can be previewed")
        model = (await self._models.of(actor.workspace_id, agent.model)).get(agent.model)
        speaker = Speaker(agent.handle, agent.name, agent.persona)
        matter = Matter(topic="a preview", instructions=None, documents=[])
        asked = [Utterance.of("visitor", request.message)]
        chat = chat_request(
            model, agent.params, lambda budget_tokens: build_prompt(speaker, matter, asked, budget_tokens)
        )
        return model.client.stream(chat)

    async def _check_endpoint(self, endpoint_url: AnyHttpUrl | None) -> None:
        # Names may have to be looked up, which no transaction must wait for.
        if endpoint_url is not None:
            with located("body", "endpoint_url"):
                await self._outgoing.check_url(str(endpoint_url))

    async def _check(self, work: UnitOfWork, config: AgentConfig, models: WorkspaceModels) -> None:
        """Everything the config names must exist, and its schema be one."""
        if config.response_schema is not None:
            with located("body", "response_schema"):
                compile_schema(config.response_schema)
        models.check(config.model, "body", "model")
        for place, name in enumerate(config.model_fallbacks):
            models.check(name, "body", "model_fallbacks", place)
        check_names(config.tools, await work.tool_servers.named(servers_in(config.tools)), self._tools)
        missing = set(config.knowledge_base_ids) - await work.knowledge.find_base_ids(config.knowledge_base_ids)
        if missing:
            raise KnowledgeBaseNotFound(f"there is no knowledge base {min(missing)}")
