"""All engines of one installation: those without a URL in the settings are started, checked and watched."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from app.config import Settings
from app.engines import data_folder
from app.engines.data_folder import FolderLock
from app.engines.database_check import check_database
from app.engines.local_model import LocalModel
from app.engines.postgres import EmbeddedPostgres
from app.engines.secret_keys import as_variables, find_secret_keys
from app.engines.supervisor import Supervisor
from app.engines.valkey import EmbeddedValkey


async def together(*steps: Coroutine[Any, Any, None]) -> None:
    """Run all steps at once; the first failure ends the others and is the one raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__


class Engines:
    """`async with Engines(settings) as urls`: `urls` are the environment variables for the processes that use them.

    Holds the data folder's lock meanwhile. `supervisor` keeps the engines alive and takes further children, which end
    before the engines do. `model=False` leaves out the local model; `wait_for_model=False` does not wait for it.
    """

    def __init__(
        self, settings: Settings, *, model: bool = True, wait_for_model: bool = True, command: str = "arena serve"
    ) -> None:
        self._settings = settings
        self._with_model = model
        self._wait_for_model = wait_for_model
        self._lock = FolderLock(settings.data_dir, command)
        self.supervisor = Supervisor()
        self.urls: dict[str, str] = {}

    async def __aenter__(self) -> dict[str, str]:
        data_folder.prepare(self._settings.data_dir)
        self._lock.acquire()
        try:
            self.urls["ARENA_DATA_DIR"] = str(self._settings.data_dir)
            self.urls |= as_variables(await find_secret_keys(self._settings))
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self.urls

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        try:
            await self.supervisor.stop()
        finally:
            self._lock.release()

    async def _start(self) -> None:
        await together(self._start_database(), self._start_valkey(), self._start_model())

    async def _start_database(self) -> None:
        given = self._settings.database.database_url
        if given is not None:
            await asyncio.to_thread(check_database, given.get_secret_value())
            self.urls["ARENA_DATABASE_URL"] = given.get_secret_value()
            owner = self._settings.database.database_owner_url
            if owner is not None:
                self.urls["ARENA_DATABASE_OWNER_URL"] = owner.get_secret_value()
            return
        postgres = EmbeddedPostgres(self._settings.data_dir)
        await postgres.prepare()
        await self.supervisor.start(postgres.child())
        await postgres.create_database()
        self.urls["ARENA_DATABASE_URL"] = postgres.url
        self.urls["ARENA_DATABASE_OWNER_URL"] = postgres.owner_url

    async def _start_valkey(self) -> None:
        given = self._settings.redis.redis_url
        if given is not None:
            self.urls["ARENA_REDIS_URL"] = given.get_secret_value()
            return
        valkey = EmbeddedValkey(self._settings.data_dir)
        await self.supervisor.start(valkey.child())
        self.urls["ARENA_REDIS_URL"] = valkey.url

    async def _start_model(self) -> None:
        models = self._settings.models
        if models.local_model_url is not None:
            self.urls["ARENA_LOCAL_MODEL_URL"] = models.local_model_url
            if models.local_model_key is not None:
                self.urls["ARENA_LOCAL_MODEL_KEY"] = models.local_model_key.get_secret_value()
            return
        if not self._with_model or models.local_model == "off":
            return
        model = LocalModel(self._settings.data_dir)
        await self.supervisor.start(model.child(), wait=self._wait_for_model)
        self.urls["ARENA_LOCAL_MODEL_URL"] = model.url
        self.urls["ARENA_LOCAL_MODEL_KEY"] = model.key
