"""The port every embedding model is spoken to through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.core.errors import Invalid
from app.services.providers.base import ModelMalformed

Vectors = npt.NDArray[np.float32]
"""Shape (texts, dimensions), each row of length 1 (L2)."""

MOST_CHARACTERS = 8_000
"""Of a text, from its beginning, are read."""


class UnknownDimensions(Invalid):
    """The model makes no vectors of that length."""

    code = "unknown_dimensions"
    where = ("body", "dimensions")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors, and the tokens that were read for them; None where the provider does not tell."""

    vectors: Vectors
    tokens: int | None


class Embedder(Protocol):
    """Turns texts into vectors. Implementations pass `tests/contracts/embedder.py`."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A row for each text, in their order; raise a `ModelError`.

        However many texts: the implementation cuts them into calls of a size that its model takes, and a text that is
        too long for it at the end. A text of nothing but white space is embedded as any other and never fails.
        """
        ...

    async def embed_counted(self, texts: Sequence[str], dimensions: int | None = None) -> Embedded:
        """The same with what it took, in vectors of that length if one is given; raise `UnknownDimensions` too."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


def unit_rows(vectors: Vectors) -> Vectors:
    """The rows at length 1; one of zeros, which has no direction, points everywhere alike.

    Raise `ModelMalformed` for one that is not finite.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ModelMalformed("the embedding model made a vector that is not finite")
    nowhere = lengths[:, 0] == 0
    if nowhere.any():
        vectors = vectors.copy()
        vectors[nowhere] = 1.0
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32)
