"""What `arena doctor` asks of the engines: those that run or that a URL names, else ones started for the moment."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import numpy as np
import psycopg
import redis
from alembic.script import ScriptDirectory

from app.cli.doctor_machine import Finding
from app.cli.migrate import alembic_config
from app.config import Settings
from app.core.errors import StartupFailed
from app.core.local_model import CONTEXT_TOKENS, MODEL_NAME
from app.engines import postgres, valkey
from app.engines.database_check import check_database, plain_url
from app.engines.local_model import LocalModel
from app.engines.supervisor import Supervisor
from app.services.embedding.base import unit_rows
from app.services.embedding.catalog import DEFAULT_EMBEDDING_MODEL
from app.services.vector_store import VectorStoreAway, Within
from app.services.vector_stores import make_qdrant

ANSWER_SECONDS = 5.0
MODEL_SECONDS = 60.0
REPLY_TOKENS = 16
OLDEST_REDIS = 7

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine is and how that is said."""

    url: str
    said: str
    key: str | None = None


async def check_engines(settings: Settings, *, running: bool) -> list[Finding]:
    """Ask each engine; `running` says that an `arena serve` uses this data folder, so its engines are asked."""
    supervisor = Supervisor()
    try:
        return [
            *await _check_database(settings, supervisor, running=running),
            await _check_valkey(settings, supervisor, running=running),
            await _check_local_model(settings, supervisor),
            *await _check_openai(settings),
            await _check_vectors(settings),
        ]
    finally:
        await supervisor.stop()


async def _find_database(settings: Settings, supervisor: Supervisor, *, running: bool) -> Place:
    if given := settings.database.database_url:
        return Place(plain_url(given.get_secret_value()), "at ARENA_DATABASE_URL")
    if running:
        return Place(postgres.socket_url(settings.data_dir), "embedded, running")
    server = postgres.EmbeddedPostgres(settings.data_dir)
    await server.prepare()
    await supervisor.start(server.child())
    await server.create_database()
    return Place(server.owner_url, "embedded, started for this check")


async def _check_database(settings: Settings, supervisor: Supervisor, *, running: bool) -> list[Finding]:
    embedded = settings.database.database_url is None
    log = settings.data_dir / "logs" / "postgres.log"
    mend = f"see {log}, or set ARENA_DATABASE_URL" if embedded else "see that it runs, or correct ARENA_DATABASE_URL"
    try:
        place = await _find_database(settings, supervisor, running=running)
        if not embedded:
            await asyncio.to_thread(check_database, place.url)
        return await asyncio.to_thread(_ask_database, place)
    except StartupFailed as error:
        return [Finding("PostgreSQL", "fail", error.detail, mend)]
    except psycopg.Error as error:
        return [Finding("PostgreSQL", "fail", str(error).strip().partition("\n")[0], mend)]


def _ask_database(place: Place) -> list[Finding]:
    with psycopg.connect(place.url, connect_timeout=int(ANSWER_SECONDS), autocommit=True) as connection:
        version = _value(connection, "SHOW server_version")
        vector = _value(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        return [
            Finding("PostgreSQL", "ok", f"{version}, {place.said}"),
            Finding("pgvector", "ok", str(vector)),
            _check_schema(connection),
        ]


async def _check_vectors(settings: Settings) -> Finding:
    if settings.vectors.vector_store == "postgresql":
        return Finding("Vector store", "ok", "PostgreSQL")
    try:
        store = make_qdrant(settings.vectors)
    except StartupFailed as error:
        return Finding("Vector store", "fail", error.detail, "or leave ARENA_VECTOR_STORE unset: PostgreSQL serves too")
    try:
        nowhere = Within(uuid4(), [uuid4()])
        await store.search(nowhere, DEFAULT_EMBEDDING_MODEL, unit_rows(np.ones((1, 256), np.float32)), 1)
    except VectorStoreAway as error:
        return Finding("Vector store", "fail", f"Qdrant: {error.__cause__}", "see that it runs at ARENA_QDRANT_URL")
    finally:
        await store.close()
    return Finding("Vector store", "ok", "Qdrant, at ARENA_QDRANT_URL")


def _check_schema(connection: psycopg.Connection[Row]) -> Finding:
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if _value(connection, "SELECT to_regclass('alembic_version')") is None:
        return Finding("Schema", "note", "not migrated yet; `arena serve` and `arena migrate` do it")
    present = _value(connection, "SELECT min(version_num) FROM alembic_version")
    if present == head:
        return Finding("Schema", "ok", f"{present}, the newest")
    return Finding("Schema", "fail", f"{present}, this release's is {head}", "run `arena migrate` with this release")


def _value(connection: psycopg.Connection[Row], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


async def _find_valkey(settings: Settings, supervisor: Supervisor, *, running: bool) -> Place:
    if given := settings.redis.redis_url:
        return Place(given.get_secret_value(), "at ARENA_REDIS_URL")
    if running:
        return Place(valkey.socket_url(settings.data_dir), "embedded, running")
    server = valkey.EmbeddedValkey(settings.data_dir)
    await supervisor.start(server.child())
    return Place(server.url, "embedded, started for this check")


async def _check_valkey(settings: Settings, supervisor: Supervisor, *, running: bool) -> Finding:
    embedded = settings.redis.redis_url is None
    log = settings.data_dir / "logs" / "valkey.log"
    mend = f"see {log}, or set ARENA_REDIS_URL" if embedded else "see that it runs, or correct ARENA_REDIS_URL"
    try:
        place = await _find_valkey(settings, supervisor, running=running)
        information = await asyncio.to_thread(_ask_valkey, place.url)
    except StartupFailed as error:
        return Finding("Valkey", "fail", error.detail, mend)
    except (redis.RedisError, OSError, ValueError) as error:
        return Finding("Valkey", "fail", f"{type(error).__name__}: it does not answer", mend)
    product = "Valkey" if "valkey_version" in information else "Redis"
    version = str(information.get("valkey_version") or information["redis_version"])
    if int(version.partition(".")[0]) < OLDEST_REDIS:
        return Finding("Valkey", "fail", f"{product} {version}, {place.said}", "use Redis 7 or newer, or Valkey")
    return Finding("Valkey", "ok", f"{product} {version}, {place.said}")


def _ask_valkey(url: str) -> dict[str, Any]:
    with redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS) as client:
        return dict(client.info("server"))


async def _find_model(settings: Settings, supervisor: Supervisor) -> Place:
    """Always a server of our own unless a URL is set: the one of a running `arena serve` has a key only it knows."""
    models = settings.models
    if models.local_model_url:
        key = models.local_model_key.get_secret_value() if models.local_model_key else None
        return Place(models.local_model_url, "at ARENA_LOCAL_MODEL_URL", key)
    model = LocalModel(settings.data_dir)
    await supervisor.start(model.child())
    return Place(model.url, "started for this check", model.key)


async def _check_local_model(settings: Settings, supervisor: Supervisor) -> Finding:
    if settings.models.local_model == "off" and not settings.models.local_model_url:
        return Finding("Local model", "note", "off (ARENA_LOCAL_MODEL)")
    mend = f"see {settings.data_dir / 'logs' / 'local_model.log'}, or set ARENA_LOCAL_MODEL=off"
    try:
        place = await _find_model(settings, supervisor)
        speed = await _generate(place)
    except StartupFailed as error:
        return Finding("Local model", "fail", error.detail, mend)
    except httpx2.HTTPError as error:
        return Finding("Local model", "fail", str(error) or type(error).__name__, mend)
    found = f"{MODEL_NAME}, {speed:.0f} tokens/s, {CONTEXT_TOKENS} tokens of context, {place.said}"
    return Finding("Local model", "ok", found)


async def _generate(place: Place) -> float:
    """Ask for a short reply; return tokens a second, the reading of the prompt included where it is not told apart."""
    question = {"role": "user", "content": "Hello there"}
    body = {"model": MODEL_NAME, "messages": [question], "max_tokens": REPLY_TOKENS, "temperature": 0}
    async with _client(place.key, MODEL_SECONDS) as client:
        began = time.monotonic()
        response = (await client.post(f"{place.url}/chat/completions", json=body)).raise_for_status()
        seconds = time.monotonic() - began
    reply = response.json()
    told = reply.get("timings", {}).get("predicted_per_second")
    return float(told or reply["usage"]["completion_tokens"] / seconds)


async def _check_openai(settings: Settings) -> list[Finding]:
    base = settings.models.openai_base_url
    if not base:
        return []
    key = settings.models.openai_api_key
    mend = "see that it runs, that ARENA_OPENAI_BASE_URL ends in /v1, and that ARENA_OPENAI_API_KEY is right"
    try:
        async with _client(key.get_secret_value() if key else None, ANSWER_SECONDS) as client:
            response = await client.get(f"{base.rstrip('/')}/models")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [Finding("OpenAI-compatible", "fail", f"{base}: {error or type(error).__name__}", mend)]
    if not response.is_success:
        return [Finding("OpenAI-compatible", "fail", f"{base} answers {response.status_code}", mend)]
    return [Finding("OpenAI-compatible", "ok", base)]


@asynccontextmanager
async def _client(key: str | None, seconds: float) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx2.AsyncClient(headers=headers, timeout=seconds) as client:
        yield client
