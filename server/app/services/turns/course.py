"""Which model is asked next after one failed, how soon, and with how long a prompt. Without I/O.

Waits grow exponentially with jitter (Brooker, "Exponential backoff and jitter", 2015) and are never shorter than the
provider's Retry-After (RFC 9110, 10.2.3).
"""

import random
from collections.abc import Sequence

from app.core.errors import ArenaError
from app.services.providers.base import ModelBusy, ModelCircuitOpen, ModelContextExceeded, ModelError

BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
"""A provider that wants to be left alone for longer is given up for this turn."""
SPREAD = 0.25
SHRUNK_PROMPT = 0.5
"""Of what did not fit: how large a model's window really is only its refusal tells."""


class Course:
    """The models of one turn in the order they are asked: the agent's own, then its fallbacks."""

    def __init__(self, models: Sequence[str], tries_each: int) -> None:
        self._left = list(models)
        self._tries_each = tries_each
        self._tries = 0
        self._empty_replies = 0
        self.most_prompt_tokens: int | None = None

    @property
    def model(self) -> str:
        """Which is due."""
        return self._left[0]

    def is_mute(self) -> bool:
        """Note an empty reply; True once it is the second."""
        self._empty_replies += 1
        return self._empty_replies >= 2

    def after(self, error: ArenaError, prompt_tokens: int = 0) -> float | None:
        """Seconds to wait before the next attempt, None if there is to be none. `prompt_tokens` were asked with."""
        self._tries += 1
        if isinstance(error, ModelContextExceeded) and self.most_prompt_tokens is None:
            self.most_prompt_tokens = int(prompt_tokens * SHRUNK_PROMPT)
            return 0.0
        wait = self._wait(error)
        if wait is not None:
            return wait
        return self._next_model()

    def _wait(self, error: ArenaError) -> float | None:
        """How long before the same model is asked again, None if it is given up."""
        if not isinstance(error, ModelError) or not error.retryable or self._tries >= self._tries_each:
            return None
        if isinstance(error, ModelBusy) or (isinstance(error, ModelCircuitOpen) and len(self._left) > 1):
            return None  # it has waited for long, or would have to
        seconds: float = BACKOFF_SECONDS * 2 ** (self._tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        asked_for: float = error.retry_after_seconds or 0.0
        if asked_for > LONGEST_BACKOFF_SECONDS:
            return None
        # Never sooner, and not all at the same moment.
        return max(seconds, asked_for * random.uniform(1, 1 + SPREAD))  # noqa: S311 - jitter

    def skip(self) -> bool:
        """Give the model that is due up without a try; False if it was the last."""
        return self._next_model() is not None

    def _next_model(self) -> float | None:
        if len(self._left) == 1:
            return None
        del self._left[0]
        self._tries, self.most_prompt_tokens = 0, None
        return 0.0
