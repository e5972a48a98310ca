"""Where what is being done comes from: set once a request, read wherever a deed is recorded, passed along by nobody."""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True)
class Origin:
    """The address that a request came from, the request's id, and who it is, as far as that is known.

    Nothing of it where there is no request.
    """

    address: str | None = None
    request_id: str | None = None
    user_id: UUID | None = None
    credential_id: UUID | None = None


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def set_origin(origin: Origin) -> None:
    """For the rest of this request: the server runs each in a context of its own, so it is never reset."""
    _origin.set(origin)


def name_caller(user_id: UUID, credential_id: UUID) -> None:
    """Let what is logged from here on in this request, its own line included, say whose it is; by ids alone."""
    origin = _origin.get()
    if origin is not _NOWHERE:
        origin.user_id, origin.credential_id = user_id, credential_id


def current_origin() -> Origin:
    return _origin.get()
