"""`arena migrate`: bring the database's schema to this release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app.config import load_settings
from app.core.database import libpq_url
from app.core.errors import StartupFailed
from app.engines.database_check import check_database

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def alembic_config() -> Config:
    """Alembic's configuration for our migrations, wherever the package is installed."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def migrate() -> None:
    """Bring the database's schema to this release. Safe to run at any time, and while the product runs."""
    check_database(libpq_url(load_settings().database))
    try:
        command.upgrade(alembic_config(), "head")
    except CommandError as error:
        raise StartupFailed(f"the schema cannot be migrated: {error}") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise StartupFailed(f"the schema cannot be migrated: {reason}") from None
    print("the schema is up to date")
