"""Embedding models behind an OpenAI-compatible endpoint."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import numpy as np
import orjson

from app.core.address_guard import AddressGuard, Unreachable
from app.core.public_addresses import ForbiddenAddress
from app.services.embedding.base import MOST_CHARACTERS, Embedded, Vectors, unit_rows
from app.services.providers.base import (
    ModelContextExceeded,
    ModelMalformed,
    ModelTimeouts,
)
from app.services.providers.endpoint import Endpoint
from app.services.providers.openai_errors import complaint_in, refusal

TEXTS_A_CALL = 96
CHARACTERS_A_CALL = 200_000
"""Of all texts of a call: OpenAI takes 300,000 tokens."""
FEWEST_CHARACTERS = 200
"""A model that refuses a text of that length as too long is not asked for less."""
MOST_ANSWER_BYTES = 24 * 1024 * 1024
MOST_BYTES_A_TEXT = 256 * 1024
"""A vector of 8,192 numbers in their longest form."""
_MAX_ERROR_BYTES = 64 * 1024
_BLANK = "."
"""Stands for a text of white space, which most providers refuse."""


class EmbeddingsEndpoint:
    """One endpoint; all its models share a pool of connections. Use it from one event loop."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        timeouts: ModelTimeouts | None = None,
        guard: AddressGuard | None = None,
    ) -> None:
        """`base_url` includes the version, as in `https://api.openai.com/v1`; with a `guard` it is a workspace's."""
        self._endpoint = endpoint = Endpoint(base_url, api_key, timeouts, guard)
        self._url = endpoint.url / "embeddings"
        self.host, self._key = endpoint.host, endpoint.key

    async def close(self) -> None:
        await self._endpoint.close()

    async def ask(self, model: str, texts: Sequence[str], dimensions: int | None) -> Embedded:
        """Vectors for the texts of one call, none of them blank; raise a `ModelError`."""
        body: dict[str, Any] = {"model": model, "input": texts, "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        try:
            async with asyncio.timeout(self._endpoint.timeouts.first_token_seconds):
                most = min(MOST_ANSWER_BYTES, (len(texts) + 1) * MOST_BYTES_A_TEXT)
                status, answer, retry_after = await self._post(orjson.dumps(body), most)
        except aiohttp.ConnectionTimeoutError:
            raise self._endpoint.timed_out("connect") from None
        except TimeoutError:
            raise self._endpoint.timed_out("first_token") from None
        except (aiohttp.ClientError, OSError, ValueError, ForbiddenAddress, Unreachable) as problem:
            self._endpoint.unreachable(problem)
        if status != 200:
            raise refusal(self.host, status, complaint_in(answer, secret=self._key), retry_after=retry_after)
        return await asyncio.to_thread(self._read, answer, len(texts), dimensions)

    async def _post(self, body: bytes, most_bytes: int) -> tuple[int, bytes, str | None]:
        async with self._endpoint.session().post(self._url, data=body, allow_redirects=False) as response:
            most = most_bytes if response.status == 200 else _MAX_ERROR_BYTES
            received = bytearray()
            while len(received) <= most and (piece := await response.content.readany()):
                received += piece
            if response.status == 200 and len(received) > most:
                raise ModelMalformed(f"{self.host} sent more than {most // 1024} KB for one call")
            return response.status, bytes(received[:most]), response.headers.get("Retry-After")

    def _read(self, answer: bytes, count: int, dimensions: int | None) -> Embedded:
        try:
            document = orjson.loads(answer)
            in_order = sorted(document["data"], key=lambda one: one["index"])
            vectors = np.array([one["embedding"] for one in in_order], np.float32)
            usage = document.get("usage") or {}
            tokens = usage.get("prompt_tokens")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ModelMalformed(f"{self.host} sent embeddings that are not understood") from None
        if vectors.ndim != 2 or len(vectors) != count or [one["index"] for one in in_order] != list(range(count)):
            raise ModelMalformed(f"{self.host} did not send one vector for each text")
        if vectors.shape[1] != (dimensions or vectors.shape[1] or -1):
            raise ModelMalformed(f"{self.host} sent vectors of {vectors.shape[1]} dimensions")
        return Embedded(unit_rows(vectors), tokens if isinstance(tokens, int) and tokens >= 0 else None)


class OpenAICompatibleEmbedder:
    """One model of an endpoint.

    A text that the model finds too long is cut to half until it fits, and so are all after it.
    """

    def __init__(self, endpoint: EmbeddingsEndpoint, model: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._most_characters = MOST_CHARACTERS

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str], dimensions: int | None = None) -> Embedded:
        rows: list[Vectors] = []
        tokens: int | None = 0
        for batch in _batches(texts):
            embedded = await self._embed_as_it_fits(batch, dimensions)
            rows.append(embedded.vectors)
            tokens = None if tokens is None or embedded.tokens is None else tokens + embedded.tokens
        if not rows:
            return Embedded(np.empty((0, dimensions or 0), np.float32), 0)
        if len({vectors.shape[1] for vectors in rows}) > 1:
            raise ModelMalformed(f"{self._endpoint.host} sent vectors of different lengths")
        return Embedded(np.concatenate(rows), tokens)

    async def close(self) -> None:
        await self._endpoint.close()

    async def _embed_as_it_fits(self, texts: Sequence[str], dimensions: int | None) -> Embedded:
        while True:
            most = self._most_characters
            cut = [text[:most] if text.strip() else _BLANK for text in texts]
            try:
                return await self._endpoint.ask(self._model, cut, dimensions)
            except ModelContextExceeded:
                longest = max(map(len, cut))
                if longest <= FEWEST_CHARACTERS:
                    raise
                self._most_characters = min(self._most_characters, max(FEWEST_CHARACTERS, longest // 2))


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many texts together as one call takes."""
    begin, characters = 0, 0
    for place, text in enumerate(texts):
        length = min(len(text), MOST_CHARACTERS)
        if place > begin and (place - begin == TEXTS_A_CALL or characters + length > CHARACTERS_A_CALL):
            yield texts[begin:place]
            begin, characters = place, 0
        characters += length
    if texts:
        yield texts[begin:]
