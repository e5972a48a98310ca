"""`arena migrate`: bring the database's schema to this release."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app.config import load_settings
from app.core.database import libpq_url, owner_url
from app.core.errors import StartupFailed
from app.domain.events import STATUS_CHANGES
from app.engines.database_check import check_database

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def alembic_config() -> Config:
    """Alembic's configuration for our migrations, wherever the package is installed."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def migrate() -> None:
    """Bring the database's schema to this release. Safe to run at any time, and while the product runs."""
    url = libpq_url(owner_url(load_settings().database))
    check_database(url)
    try:
        command.upgrade(alembic_config(), "head")
        _take_for_past(url)
    except CommandError as error:
        raise StartupFailed(f"the schema cannot be migrated: {error}") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise StartupFailed(f"the schema cannot be migrated: {reason}") from None
    print("the schema is up to date")


def _take_for_past(url: str) -> None:
    """A copy of another database holds numbers of its transactions, which here would seem to come from the future."""
    kinds = ", ".join(f"'{kind}'" for kind in STATUS_CHANGES)  # as the index has them
    statement = (
        f"UPDATE discussion_events SET xid = '3' WHERE type IN ({kinds})"  # noqa: S608 - our own constants
        " AND xid >= pg_snapshot_xmax(pg_current_snapshot())"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
