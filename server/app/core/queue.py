"""The job queue in PostgreSQL (Procrastinate): deferred with the data, fetched by workers."""

import procrastinate

from app.config import DatabaseSettings
from app.core.database import connect_arguments, database_url, libpq_url


def make_queue(settings: DatabaseSettings, application: str) -> procrastinate.App:
    """A queue without tasks; a worker adds its own. Nothing connects until it is opened."""
    connector = procrastinate.PsycopgConnector(
        conninfo=libpq_url(database_url(settings)),
        kwargs=connect_arguments(settings, application),
        min_size=1,
        max_size=4,
        timeout=10,
    )
    return procrastinate.App(connector=connector)
