"""The port every embedding model is spoken to through."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""Shape (texts, dimensions), each row of length 1 (L2)."""


class Embedder(Protocol):
    """Turns texts into vectors. Implementations pass `tests/contracts/embedder.py`."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A row for each text, in their order; raise a `ModelError`.

        However many texts: the implementation cuts them into calls of a size that its model takes, and a text that is
        too long for it at the end. A text of nothing but white space is embedded as any other and never fails.
        """
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...
