"""What can go wrong between a client and the server."""

from typing import Any


class ArenaError(Exception):
    """Anything this package raises of its own."""


class ArenaUnreachable(ArenaError):
    """No answer: the server cannot be reached, was silent too long, or is no Discussion Arena."""


class ArenaTimeout(ArenaError):
    """What was waited for has not happened in time; it may still happen."""


class ArenaProblem(ArenaError):
    """The server's refusal (RFC 9457): `code` is stable, `detail` is for people, `request_id` finds it in the logs."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        request_id: str | None = None,
        *,
        errors: list[dict[str, Any]] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = errors or []
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.detail} ({self.status} {self.code})"

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later, as it is."""
        return self.status in {408, 425, 429} or self.status >= 500
