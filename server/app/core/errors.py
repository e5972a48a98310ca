"""What can go wrong, by kind; each leaf has a stable `code` that clients may rely on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class ArenaError(Exception):
    """An expected failure: `detail` is a clear sentence for the person who caused it."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(ArenaError):
    """The request is understood and wrong; `loc` leads to the part of it that is, from `where` along the `path`."""

    code = "validation_failed"
    where: ClassVar[tuple[str | int, ...]] = ("body",)

    def __init__(self, detail: str, *path: str | int) -> None:
        super().__init__(detail)
        self.loc = (*self.where, *path)


@contextmanager
def located(*loc: str | int) -> Iterator[None]:
    """Give the faults found in the block their place, where only the caller knows which part of a request it is."""
    try:
        yield
    except Invalid as error:
        error.loc = loc
        raise


class Unauthenticated(ArenaError):
    """Who is calling is not known."""

    code = "unauthenticated"


class Forbidden(ArenaError):
    """Who is calling is known and may not."""

    code = "forbidden"


class NotFound(ArenaError):
    """Nothing of that name is visible to the caller."""

    code = "not_found"


class Conflict(ArenaError):
    """The request contradicts the present state."""

    code = "conflict"


class PreconditionFailed(ArenaError):
    """The caller's version is not the present one."""

    code = "stale_version"


class TimedOut(ArenaError):
    """The caller took too long."""

    code = "timed_out"


class TooLarge(ArenaError):
    """The request body is over its limit."""

    code = "body_too_large"


class RateLimited(ArenaError):
    """Too much, too fast; `retry_after_seconds` says when to come back."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class UpstreamFailed(ArenaError):
    """A service that this one relies on answered wrongly."""

    code = "upstream_failed"


class DependencyFailed(UpstreamFailed):
    """What the caller chose to have asked, such as a model, failed: their request, and not this server, is at fault."""

    code = "dependency_failed"


class Unavailable(ArenaError):
    """Cannot be done now; the same request may succeed later."""

    code = "unavailable"


class StartupFailed(ArenaError):
    """A process cannot start; the command line prints the sentence and exits 1."""

    code = "startup_failed"
