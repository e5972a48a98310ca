"""Which models a workspace can use: the operator's, and those of the providers that it brings itself.

Always holds: what `ModelCatalog.of` gives is how things were committed at most `LONGEST_SECONDS` ago, and never older
than what this process changed itself. What a driver asks for on every turn costs no query while nothing changes: all of
a process ask the database together, at most once in `LOOK_SECONDS`, whether any provider of the installation did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from cachetools import LRUCache
from redis.asyncio import Redis

from app.config import Settings
from app.core.address_guard import AddressGuard
from app.core.sealing import Sealer
from app.domain.provider_names import RESERVED
from app.services.model import Model, ModelSource, UnknownModel, check_model
from app.services.operator_models import OperatorModels
from app.services.providers.pace import Pace
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.workspace_providers import ProviderClient, ProviderClients

__all__ = ["FollowedModels", "Model", "ModelCatalog", "UnknownModel", "WorkspaceModels", "make_catalog"]

LOOK_SECONDS, LONGEST_SECONDS = 0.5, 1.5
MOST_WORKSPACES = 10_000


@dataclass(frozen=True, slots=True)
class WorkspaceModels:
    """The models of one workspace as they were at a moment; `providers` by their names in models."""

    operators: OperatorModels
    providers: Mapping[str, ProviderClient]

    @property
    def first_token_seconds(self) -> float:
        """After which a silent model is given up."""
        return self.operators.first_token_seconds

    @property
    def sources(self) -> Sequence[ModelSource]:
        return [*self.operators.sources.values(), *(client.source for client in self.providers.values())]

    def get(self, name: str) -> Model:
        """The model; raise `UnknownModel` with the mend in the sentence."""
        provider_name, _, wire_name = name.partition("/")
        client = self.providers.get(provider_name)
        return client.source.model(wire_name) if client is not None else self.operators.get(name)

    def check(self, name: str | None, *loc: str | int) -> None:
        """Raise `UnknownModel` if a request asks at `loc` for a model that there is not."""
        check_model(self, name, *loc)

    def knows(self, name: str) -> bool:
        """Whether there is a provider of that name."""
        provider_name = name.partition("/")[0]
        return provider_name in RESERVED or provider_name in self.providers


class ModelCatalog:
    """The models of all workspaces."""

    def __init__(self, operators: OperatorModels, clients: ProviderClients, uow: UnitOfWorkFactory) -> None:
        self._operators = operators
        self._clients = clients
        self._uow = uow
        self._known: LRUCache[UUID, WorkspaceModels] = LRUCache(MOST_WORKSPACES)
        self._generation = 0
        self._state: str | None = None
        self._looked_at = -LONGEST_SECONDS
        self._is_looking = False

    async def of(self, workspace_id: UUID, *names: str | None) -> WorkspaceModels:
        """The workspace's models; read anew where one of `names` is of no known provider, which may be a new one."""
        await self._look()
        known = self._known.get(workspace_id)
        if known is None or not all(known.knows(name) for name in names if name):
            known = await self._read(workspace_id)
        return known

    def forget(self, workspace_id: UUID) -> None:
        """What is known of the workspace's providers is not so any more."""
        self._generation += 1
        self._known.pop(workspace_id, None)

    async def close(self) -> None:
        await self._operators.close()
        await self._clients.close()

    async def _look(self) -> None:
        """Forget everything if any provider of the installation has changed."""
        began = monotonic()
        age = began - self._looked_at
        if age < LOOK_SECONDS or (self._is_looking and age < LONGEST_SECONDS):
            return
        self._is_looking = True
        try:
            async with self._uow.reading() as work:
                state = await work.provider_state.read()
        finally:
            self._is_looking = False
        self._looked_at = max(self._looked_at, began)
        if state != self._state:
            self._state = state
            self._generation += 1
            self._known.clear()

    async def _read(self, workspace_id: UUID) -> WorkspaceModels:
        generation = self._generation
        async with self._uow.reading(workspace_id) as work:
            rows = await work.providers.list_all()
        # Of two whose names differ only in what no model's name may hold, the older one counts.
        by_name: dict[str, ProviderClient] = {}
        for client in await self._clients.of(workspace_id, rows):
            by_name.setdefault(client.source.name, client)
        models = WorkspaceModels(self._operators, by_name)
        if generation == self._generation:
            self._known[workspace_id] = models
        return models


class FollowedModels:
    """One workspace's models for a long piece of work, which looks at them again between its steps."""

    def __init__(self, catalog: ModelCatalog, workspace_id: UUID, models: WorkspaceModels) -> None:
        self._catalog = catalog
        self._workspace_id = workspace_id
        self._models = models

    @property
    def first_token_seconds(self) -> float:
        return self._models.first_token_seconds

    def get(self, name: str) -> Model:
        return self._models.get(name)

    async def refresh(self) -> None:
        """Look at them again; nothing is asked where they were looked at a moment ago."""
        self._models = await self._catalog.of(self._workspace_id)


def make_catalog(
    settings: Settings, uow: UnitOfWorkFactory, sealer: Sealer, guard: AddressGuard, cache: Redis
) -> ModelCatalog:
    """The models of a process, all at one pace."""
    pace = Pace()
    operators = OperatorModels(settings.models, cache, settings.recordings_dir, pace)
    return ModelCatalog(operators, ProviderClients(settings.models, sealer, guard, cache, pace), uow)
