"""The list of all models that a workspace can use."""

import asyncio
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache

from app.core.cursors import MALFORMED, BadCursor, decode_cursor, encode_cursor
from app.schemas.ai import ModelCapabilities, ModelPage, ModelPrices, ModelRead, UnavailableProvider
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor
from app.services.embedding.catalog import LOCAL
from app.services.model import ModelSource
from app.services.providers.base import ModelError, ModelTimedOut

ASK_SECONDS = 5.0
KEPT_SECONDS = 60.0
MOST_KEPT = 1_000
MOST_OF_PROVIDER = 2_000
LONGEST_ID = 200
_LIST = "models"
_TYPICAL_PROMPT_TOKENS = 1_000
_PER = 1_000_000


@dataclass(frozen=True, slots=True)
class _Told:
    """What a provider offers, or why it does not say."""

    wire_names: tuple[str, ...] = ()
    code: str | None = None
    detail: str | None = None


class ModelListing:
    """Asks providers what they offer, and keeps it for a minute, also that one does not answer."""

    def __init__(self, catalog: ModelCatalog) -> None:
        self._catalog = catalog
        self._told: TTLCache[tuple[str, str], _Told] = TTLCache(MOST_KEPT, KEPT_SECONDS)

    async def list_page(self, actor: Actor, limit: int, cursor: str | None) -> ModelPage:
        """By name; a provider that does not answer is named, and keeps nobody from the models of the others."""
        after = _after(cursor)
        sources = (await self._catalog.of(actor.workspace_id)).sources
        told = await asyncio.gather(*map(self._ask, sources))
        models = _embedding_models() + [
            read
            for source, one in zip(sources, told, strict=True)
            for name in one.wire_names
            if (read := _read(source, name))
        ]
        rest = sorted((model for model in models if model.id > after), key=lambda model: model.id)
        return ModelPage(
            items=rest[:limit],
            next_cursor=encode_cursor(_LIST, rest[limit - 1].id.encode().hex()) if len(rest) > limit else None,
            unavailable=[
                UnavailableProvider(provider=source.name, code=one.code, detail=one.detail or "")
                for source, one in zip(sources, told, strict=True)
                if one.code is not None
            ],
        )

    async def _ask(self, source: ModelSource) -> _Told:
        if source.only is not None:
            return _Told((source.only,))
        if source.list_names is None:
            return _Told(tuple(source.prices.wire_names()) if source.prices else ())
        key = (source.name, source.version)
        told = self._told.get(key)
        if told is None:
            told = self._told[key] = await _tell(source.list_names)
        return told


async def _tell(list_names: Any) -> _Told:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            names = await list_names()
    except ModelError as error:
        return _Told(code=error.code, detail=error.detail)
    except TimeoutError:
        return _Told(code=ModelTimedOut.code, detail=f"it did not answer within {ASK_SECONDS:g} seconds")
    return _Told(tuple(dict.fromkeys(names[:MOST_OF_PROVIDER])))


def _after(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        [position] = decode_cursor(cursor, _LIST)
        return bytes.fromhex(position).decode()
    except ValueError:
        raise BadCursor(MALFORMED) from None


def _read(source: ModelSource, wire_name: str) -> ModelRead | None:
    """None for a name that no request could hold."""
    name = f"{source.name}/{wire_name}"
    if len(name) > LONGEST_ID or not wire_name.isprintable() or any(map(str.isspace, wire_name)) or not wire_name:
        return None
    embeds = "embed" in wire_name.lower()
    is_local = source.kind == "local"
    return ModelRead(
        id=name,
        provider=source.name,
        context_tokens=source.context_of(wire_name),
        prices=ModelPrices(input_usd_per_million=0, output_usd_per_million=0)
        if is_local
        else _prices(source, wire_name),
        capabilities=ModelCapabilities(
            chat=not embeds,
            embeddings=embeds and source.kind == "openai_compatible",
            tools=not embeds and not is_local,
            response_schema=not embeds,
            streaming=not embeds,
        ),
    )


def _prices(source: ModelSource, wire_name: str) -> ModelPrices | None:
    found = source.prices.per_token(wire_name, _TYPICAL_PROMPT_TOKENS) if source.prices else None
    if found is None:
        return None
    return ModelPrices(
        input_usd_per_million=round(found[0] * _PER, 6), output_usd_per_million=round(found[1] * _PER, 6)
    )


def _embedding_models() -> list[ModelRead]:
    return [
        ModelRead(
            id=name,
            provider="local",
            context_tokens=None,
            prices=ModelPrices(input_usd_per_million=0, output_usd_per_million=0),
            capabilities=ModelCapabilities(
                chat=False, embeddings=True, tools=False, response_schema=False, streaming=False
            ),
        )
        for name in LOCAL
    ]
