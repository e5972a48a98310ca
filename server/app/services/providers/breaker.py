"""Circuit breakers: a provider, or one model of it, that failed again and again is left alone for a while.

What cannot be reached fails for all its models, so connections have one breaker per provider. What answers badly or not
at all is one model (an endpoint is often a gateway to many), so that has a breaker of its own and its neighbours, which
may be its fallbacks, stay in use.

Closed: calls pass; `failures` in a row open it. Open: calls fail at once, for `seconds`. Half-open: one call at a time
passes as a probe; text from it closes the breaker but for one failure, its good end closes it wholly, its failure opens
it again. A refusal (4xx, a rate limit) shows that somebody is there: it counts as neither, and as a probe it closes. A
call that its consumer ends early has no verdict.

Each process counts for itself: a count shared through Valkey would cost every call a round trip, and one machine with
a broken network would close the provider for all others. The price is `failures` calls per process until all know.

By hand, since what we need is in no library: purgatory, the best kept, judges a block of code, for which being
interrupted is a failure like any other, lets all callers probe at once, and goes by the wall clock; aiobreaker has had
no release since 2021, pybreaker is for synchronous code.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil

import structlog
from cachetools import LRUCache

from app.services.providers.base import (
    ModelCircuitOpen,
    ModelDisconnected,
    ModelError,
    ModelMalformed,
    ModelTimedOut,
    ModelUnavailable,
    ModelUnreachable,
)

log = structlog.stdlib.get_logger(__name__)

MOST_MODELS = 1000
PROBE_SECONDS = 1.0  # after which to ask again, where a probe is under way
_FAILURES = (ModelUnavailable, ModelTimedOut, ModelDisconnected, ModelMalformed)


class Breaker:
    """One circuit. `clock` gives seconds and never goes back."""

    __slots__ = ("_clock", "_failed", "_limit", "_open_until", "_probes", "_probing", "_seconds")

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._failed = 0  # in a row
        self._open_until: float | None = None
        self._probes = 0  # so far
        self._probing = 0  # the number of the probe under way; a former one may still be reading its reply

    def wait_seconds(self) -> float:
        """How long no call may be made; 0 if one may."""
        if self._open_until is None:
            return 0.0
        left = self._open_until - self._clock()
        return left if left > 0 else PROBE_SECONDS if self._probing else 0.0

    def enter(self) -> int:
        """Begin a call, for which `wait_seconds` must be 0; return its number as a probe, 0 if it is none."""
        if self._open_until is None:
            return 0
        self._probes += 1
        self._probing = self._probes
        return self._probes

    def failed(self, *, probe: int) -> bool:
        """A call failed: return whether that opened it. Calls that began before it did so tell nothing new."""
        decides = self._ends(probe)
        if self._open_until is None:
            self._failed += 1
        opens = decides or (self._open_until is None and self._failed >= self._limit)
        if opens:
            self._open_until = self._clock() + self._seconds
        return opens

    def answered(self) -> None:
        """A call brought its first text, or a refusal."""
        if self._open_until is not None:
            self._open_until, self._probing = None, 0
            self._failed = self._limit - 1

    def succeeded(self) -> None:
        self._open_until, self._probing, self._failed = None, 0, 0

    def abandoned(self, *, probe: int) -> None:
        """A call was ended by its consumer."""
        self._ends(probe)

    def _ends(self, probe: int) -> bool:
        """End the probe under way, if it is that one; return whether it is."""
        is_current = probe != 0 and probe == self._probing
        if is_current:
            self._probing = 0
        return is_current


class Call:
    """A call under way, as its breakers see it."""

    __slots__ = ("_breakers",)

    def __init__(self, *breakers: Breaker) -> None:
        self._breakers = [(breaker, breaker.enter()) for breaker in breakers]

    def answered(self) -> None:
        for breaker, _ in self._breakers:
            breaker.answered()

    def succeeded(self) -> None:
        for breaker, _ in self._breakers:
            breaker.succeeded()

    def abandoned(self) -> None:
        for breaker, probe in self._breakers:
            breaker.abandoned(probe=probe)

    def failed(self, error: ModelError) -> bool:
        """Return whether that opened a breaker."""
        (provider, provider_probe), (model, model_probe) = self._breakers
        if not isinstance(error, _FAILURES):
            self.answered()
            return False
        if _is_unreachable(error):
            model.abandoned(probe=model_probe)
            return provider.failed(probe=provider_probe)
        provider.succeeded()
        return model.failed(probe=model_probe)


class Breakers:
    """The breakers of one provider and of its models."""

    def __init__(self, name: str, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`failures` 0: they never open."""
        self._name = name
        self._limit = failures
        self._make = partial(Breaker, failures, seconds, clock)
        self._provider = self._make()
        self._models: LRUCache[str, Breaker] = LRUCache(MOST_MODELS)

    def refuse(self, model: str) -> None:
        """Raise `ModelCircuitOpen` if a call of the model may not be made now."""
        self._refuse(self._provider, f"{self._name} could not be reached {self._limit} times in a row")
        if model in self._models:
            self._refuse(self._models[model], f"{self._name}/{model} failed {self._limit} times in a row")

    @contextmanager
    def watching(self, model: str) -> Iterator[Call]:
        """Begin a call, or refuse it. A failure is noted, success must be told, anything else has no verdict."""
        if not self._limit:
            yield Call()
            return
        self.refuse(model)
        call = Call(self._provider, self._models.setdefault(model, self._make()))
        try:
            yield call
        except ModelError as error:
            if call.failed(error):
                log.warning("model_circuit_opened", provider=self._name, model=model, code=error.code)
            raise
        finally:
            call.abandoned()

    def _refuse(self, breaker: Breaker, why: str) -> None:
        wait = breaker.wait_seconds()
        if wait > 0:
            raise ModelCircuitOpen(f"{why}: it is tried again in {ceil(wait)} s", retry_after_seconds=wait)


def _is_unreachable(error: ModelError) -> bool:
    return isinstance(error, ModelUnreachable) or (isinstance(error, ModelTimedOut) and error.phase == "connect")
