"""What commands need that work on an installation's database themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config import Settings
from app.core.database import database_url, libpq_url, make_engine
from app.core.derived_keys import SecretKeys
from app.core.queue import make_queue
from app.core.sealing import Sealer
from app.engines import data_folder
from app.engines.database_check import check_database, check_schema
from app.engines.secret_key_check import check_secret_keys
from app.engines.secret_keys import find_secret_keys, is_in_data_folder
from app.services.unit_of_work import UnitOfWorkFactory


def check_installation(settings: Settings) -> None:
    """Raise `StartupFailed` unless the database can be used, with the secret keys that are set."""
    if is_in_data_folder(settings):
        data_folder.prepare(settings.data_dir)
    url = libpq_url(database_url(settings.database))
    check_database(url)
    check_schema(url)
    check_secret_keys(url, Sealer(asyncio.run(find_secret_keys(settings))))


@asynccontextmanager
async def open_installation(
    settings: Settings, application: str, *, with_any_keys: bool = False
) -> AsyncIterator[tuple[UnitOfWorkFactory, SecretKeys]]:
    """Its units of work and secret keys; `with_any_keys` does not ask whether these are the right ones."""
    url = libpq_url(database_url(settings.database))
    check_database(url)
    check_schema(url)
    secret_keys = await find_secret_keys(settings)
    if not with_any_keys:
        check_secret_keys(url, Sealer(secret_keys))
    engine = make_engine(settings.database, application)
    try:
        queue = make_queue(settings.database, application)
        yield UnitOfWorkFactory(engine, queue, lambda *_: None, settings.auth.session_idle), secret_keys
    finally:
        await engine.dispose()
