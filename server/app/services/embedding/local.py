"""Embeddings without a provider: wordllama, whose weights are inside its wheel.

A text's vector is the mean of its tokens' vectors, of which the first 64 and 128 components are vectors of their own
(Kusupati et al., "Matryoshka Representation Learning", 2022). So one table of weights serves all three lengths.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from app.services.embedding.base import MOST_CHARACTERS, Embedded, UnknownDimensions, Vectors, unit_rows

DIMENSIONS = (256, 128, 64)
TEXTS_AT_ONCE = 256
"""Between two such batches others get their turn at a thread."""
_CORPUS = "l2_supercat"


@dataclass(frozen=True, slots=True)
class _Weights:
    """A vector for each token, and what cuts texts into tokens."""

    table: npt.NDArray[np.float32]
    tokenizer: Any

    def embed(self, texts: Sequence[str], dimensions: int) -> tuple[Vectors, int]:
        """Vectors and the number of tokens. May be called from several threads at once."""
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        sums = np.zeros((len(encodings), dimensions), np.float32)
        tokens = 0
        for place, encoding in enumerate(encodings):
            ids = encoding.ids
            tokens += len(ids)
            if ids:
                sums[place] = self.table[ids].sum(axis=0)[:dimensions]
        return unit_rows(sums), tokens


_loading = Lock()


@cache
def _loaded() -> _Weights:
    import wordllama  # noqa: PLC0415 - takes half a second and 60 MB, which most processes never need

    loaded = wordllama.WordLlama.load(
        config=_CORPUS, dim=DIMENSIONS[0], cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    loaded.tokenizer.no_padding()  # a batch would take as much memory as if all its texts were as long as the longest
    return _Weights(loaded.embedding, loaded.tokenizer)


def _weights() -> _Weights:
    with _loading:
        return _loaded()


@cache
def _threads() -> ThreadPoolExecutor:
    # Two, so that a question does not wait for a document.
    return ThreadPoolExecutor(2, thread_name_prefix="embedding")


class LocalEmbedder:
    """wordllama at one length of vectors. The weights are loaded when they are first needed, in a thread."""

    def __init__(self, dimensions: int = DIMENSIONS[0]) -> None:
        self._dimensions = dimensions

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str], dimensions: int | None = None) -> Embedded:
        length = dimensions or self._dimensions
        if length not in DIMENSIONS or length > self._dimensions:
            possible = ", ".join(str(one) for one in DIMENSIONS if one <= self._dimensions)
            raise UnknownDimensions(f"this model makes vectors of {possible} dimensions")
        loop = asyncio.get_running_loop()
        rows, tokens = [np.empty((0, length), np.float32)], 0
        for begin in range(0, len(texts), TEXTS_AT_ONCE):
            batch = [text[:MOST_CHARACTERS] for text in texts[begin : begin + TEXTS_AT_ONCE]]
            vectors, read = await loop.run_in_executor(_threads(), lambda some: _weights().embed(some, length), batch)
            rows.append(vectors)
            tokens += read
        return Embedded(np.concatenate(rows), tokens)

    async def close(self) -> None:
        """The weights belong to the process and stay."""
