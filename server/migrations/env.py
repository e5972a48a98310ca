"""Alembic's environment: our tables only; the job queue's are its own."""

from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlalchemy.sql.schema import SchemaItem

from app.config import load_settings
from app.core.database import connect_arguments, owner_url
from app.models import Base

MIGRATION_LOCK = 4_720_193_310


def _ours(item: SchemaItem, name: str | None, type_: str, reflected: bool, compare_to: SchemaItem | None) -> bool:
    return not (name or "").startswith(("procrastinate", "idx_procrastinate"))


def run_migrations() -> None:
    """Run in one transaction per migration, never waiting long for a lock that live traffic holds."""
    settings = load_settings().database
    engine = create_engine(
        owner_url(settings),
        poolclass=pool.NullPool,
        connect_args=connect_arguments(settings, "migrate", role=None),
    )
    with engine.connect() as connection:
        # Two that migrate at once would both make the first table.
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        # A large table takes its time; what must not wait long is a lock that live traffic holds.
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=_ours,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run_migrations()
