"""Where what is being done comes from: set once a request, read wherever a deed is recorded, passed along by nobody."""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

import structlog


@dataclass(frozen=True, slots=True)
class Origin:
    """The address that a request came from, and the request's id; neither where there is no request."""

    address: str | None = None
    request_id: str | None = None


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin")


def set_origin(origin: Origin) -> None:
    """For the rest of this request: the server runs each in a context of its own, so it is never reset."""
    _origin.set(origin)


def name_caller(user_id: UUID, credential_id: UUID) -> None:
    """Let what is logged from here on in this request, its own line included, say whose it is; by ids alone."""
    structlog.contextvars.bind_contextvars(user_id=str(user_id), credential_id=str(credential_id))


def current_origin() -> Origin:
    return _origin.get(_NOWHERE)
