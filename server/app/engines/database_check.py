"""Whether a PostgreSQL of the operator's can hold our data; nothing said here shows a password."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.core.errors import StartupFailed

CONNECT_SECONDS = 5
OLDEST_VERSION = 15
NOT_A_URL = "ARENA_DATABASE_URL is not a PostgreSQL URL such as postgresql://user:password@host:5432/arena"


def plain_url(url: str) -> str:
    """Return the URL as libpq reads it, without a driver's name in its scheme."""
    scheme, separator, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"} or not separator:
        raise StartupFailed(NOT_A_URL)
    return f"postgresql://{rest}"


def check_database(url: str) -> None:
    """Raise `StartupFailed` unless the database answers, is new enough and has pgvector; blocks up to 5 s."""
    plain = plain_url(url)
    where = _place(plain)
    try:
        with psycopg.connect(plain, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
            _check_version(connection, where)
            _check_vector(connection, where)
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise StartupFailed(f"the database at {where} (ARENA_DATABASE_URL) does not answer: {reason}") from error


def check_schema(url: str) -> None:
    """Raise `StartupFailed` unless the database was migrated; call it after `check_database`."""
    with psycopg.connect(plain_url(url), connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if found is None or found[0] is None:
        raise StartupFailed("the database holds no tables of ours yet: run `arena migrate` first")


def _place(url: str) -> str:
    """Return host, port and database of the URL."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise StartupFailed(NOT_A_URL) from None  # the cause quotes the URL with its password
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', parts.get('user', ''))}"


def _check_version(connection: psycopg.Connection[tuple[object, ...]], where: str) -> None:
    major = connection.info.server_version // 10_000
    if major < OLDEST_VERSION:
        raise StartupFailed(f"the database at {where} is PostgreSQL {major}: {OLDEST_VERSION} or newer is needed")


def _check_vector(connection: psycopg.Connection[tuple[object, ...]], where: str) -> None:
    """Make the extension, which needs rights that the operator may have to use for us."""
    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        return
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.errors.UniqueViolation:
        return  # another process made it at the same moment
    except psycopg.errors.InsufficientPrivilege as error:
        raise StartupFailed(
            f"pgvector is not enabled in the database at {where} and its user may not do so: "
            f"run CREATE EXTENSION vector there as a superuser"
        ) from error
    except psycopg.Error as error:
        raise StartupFailed(
            f"pgvector is not installed on the server at {where}: "
            f"install it (https://github.com/pgvector/pgvector) and run CREATE EXTENSION vector"
        ) from error
