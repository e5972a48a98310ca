"""The embeddings of the fake model server: a vector for each text, the same for the same text.

`fake?dimensions=8` says how long they are, `fake?context_tokens=100` refuses a text of more than four times as many
bytes; `status`, `retry_after`, `leak_key`, `message` and `hang_first` are as of its chat models.
"""

import random
import zlib
from typing import Any

from bench.fake_behaviour import Behaviour

MOST_TEXTS = 2048


class RefusedTextsError(ValueError):
    """The texts are none that an endpoint like OpenAI's would take."""


def embeddings(model: str, behaviour: Behaviour, body: dict[str, Any]) -> dict[str, Any]:
    """The whole answer, in another order than the texts'."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not texts or len(texts) > MOST_TEXTS or not all(text.strip() for text in texts):
        raise RefusedTextsError("'$.input' is invalid.")
    if behaviour.context_tokens and max(len(text.encode()) for text in texts) > behaviour.context_tokens * 4:
        raise RefusedTextsError(f"This model's maximum context length is {behaviour.context_tokens} tokens.")
    dimensions = body.get("dimensions") or behaviour.dimensions
    data = [
        {"object": "embedding", "index": index, "embedding": vector(text, dimensions)}
        for index, text in enumerate(texts)
    ]
    tokens = sum(len(text.encode()) // 4 + 1 for text in texts)
    usage = {} if behaviour.no_usage else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return {"object": "list", "model": model, "data": data[::-1], **usage}


def vector(text: str, dimensions: int) -> list[float]:
    """Not of length 1, as of some real models."""
    chance = random.Random(zlib.crc32(text.encode()))
    return [round(chance.gauss(0, 1), 6) for _ in range(dimensions)]
