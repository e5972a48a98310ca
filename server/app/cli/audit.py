"""`arena audit prune`: take what is too old out of the audit log, as the owner of its table and as nobody else can.

No request reaches this: the API's log is only added to, which a trigger holds. Here the trigger is off inside the
transactions that delete, so that a crash leaves it on; each is short, since nothing is logged meanwhile.
"""

from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer

from app.config import load_settings
from app.core.clock import utc_now
from app.core.database import libpq_url, owner_url
from app.core.errors import StartupFailed
from app.core.ids import new_id
from app.domain.audit import Action, Outcome
from app.engines.database_check import check_database, check_schema

BATCH = 10_000
_RECORD = (
    "INSERT INTO audit_events (id, created_at, action, outcome, target_type, detail)"
    " VALUES (%s, %s, %s, %s, %s, jsonb_build_object('before', %s::text))"
)
_PRUNE = (
    "DELETE FROM audit_events WHERE id IN ("
    "SELECT id FROM audit_events WHERE created_at < %s AND action <> %s ORDER BY id LIMIT %s)"
)


def prune(
    before: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Everything older than this day (UTC) is deleted.")
    ],
) -> None:
    """Delete old entries of the audit log; that it was done stays in the log."""
    moment = before.replace(tzinfo=UTC)
    if moment > utc_now():
        raise StartupFailed("--before must be a day that has begun")
    url = libpq_url(owner_url(load_settings().database))
    check_database(url)
    check_schema(url)
    print(f"deleted {_prune(url, moment)} entries")


def _prune(url: str, before: datetime) -> int:
    deleted = 0
    try:
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC -c lock_timeout=10000") as connection:
            _record(connection, before)
            while (gone := _delete_some(connection, before)) > 0:
                deleted += gone
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable) as error:
        reason = str(error).partition("\n")[0]
        raise StartupFailed(f"the audit log cannot be pruned: {reason}; it takes the owner of its table") from None
    return deleted


def _record(connection: psycopg.Connection, before: datetime) -> None:
    action = Action.AUDIT_PRUNED
    values = (new_id(), utc_now(), action, Outcome.SUCCEEDED, action.target_type, before.date().isoformat())
    connection.execute(_RECORD, values)


def _delete_some(connection: psycopg.Connection, before: datetime) -> int:
    with connection.transaction():
        connection.execute("ALTER TABLE audit_events DISABLE TRIGGER audit_events_are_kept")
        gone = connection.execute(_PRUNE, (before, Action.AUDIT_PRUNED, BATCH)).rowcount
        connection.execute("ALTER TABLE audit_events ENABLE TRIGGER audit_events_are_kept")
    return gone
