"""What kind of request it is, for the rate limits and for the order in which an overloaded server turns requests away.

By method and path, before anything is known of the caller, and at next to no cost.
"""

import re
from enum import StrEnum
from urllib.parse import parse_qsl


class RateClass(StrEnum):
    """What a request counts as against the rate limits."""

    READ = "read"
    WRITE = "write"
    AUTH = "auth"
    EXPENSIVE = "expensive"  # models, searches, uploads, exports
    CONTROL = "control"  # pause, interrupt, stop: never starved by what else somebody does


class LoadClass(StrEnum):
    """Who goes on when not everybody can."""

    CRITICAL = "critical"
    DISTANT = "distant"  # waits for models and other servers, and for nothing here
    INTERACTIVE = "interactive"
    BULK = "bulk"


PREFIX = "/api/v1"
_UNDER = f"{PREFIX}/"
DOCUMENTS = re.compile(rf"{PREFIX}/knowledge/(?:bases/[^/]+/documents|documents/[^/]+)")
"""Where documents are sent to, which are larger than other bodies."""
CONTROLS = frozenset({"pause", "interrupt", "stop"})
TOKENS = "/api/v1/auth/token"
_LOGINS_ELSEWHERE = frozenset({"/api/v1/auth/oidc/login", "/api/v1/auth/oidc/callback"})
_FORM = re.compile(rb"[A-Za-z0-9%+&=._*~-]{1,2000}")
"""What browsers and libraries make of a form; nothing in it could be read as a form of another kind."""
_CRITICAL = frozenset({"/readyz", "/api/v1/auth/logout"})
_EXPENSIVE_ENDS = frozenset(
    {"preview", "search", "documents", "refresh", "original", "extract", "transcript", "export", "chat", "embeddings"}
)
_DISTANT_ENDS = frozenset({"preview", "chat", "embeddings", "test"})
_BULK_ENDS = frozenset({"documents", "original", "transcript", "export", "diff", "extract"})
_STREAM_ENDS = frozenset({"events", "notifications", "ws"})
_EVENT_STREAM = b"text/event-stream"
_OF_ONE = frozenset({"me", "healthz", "readyz", "openapi.json", "models"})


def rate_class(method: str, path: str) -> RateClass | None:
    """None: it does not count, as operations' own checks do not."""
    if not path.startswith(_UNDER):
        return None
    end = path.rpartition("/")[2]
    if path.startswith("/api/v1/auth/"):
        reads = method in {"GET", "HEAD"} and path not in _LOGINS_ELSEWHERE
        return RateClass.READ if reads else RateClass.AUTH
    is_upload = method == "PUT" and DOCUMENTS.fullmatch(path) is not None
    if is_upload or (end in _EXPENSIVE_ENDS and not (end == "documents" and method == "GET")):
        return RateClass.EXPENSIVE
    if method in {"GET", "HEAD", "OPTIONS"}:
        return RateClass.READ
    return RateClass.CONTROL if end in CONTROLS else RateClass.WRITE


def load_class(method: str, path: str, body: bytes = b"", accept: bytes = b"") -> LoadClass | None:
    """None: it is let through whatever the load.

    `/healthz` costs nothing. Viewers all come at once when a server starts again, and those who are told to come back
    do so all at once: streams have limits of their own. A page of the log is at the same address, and a list.
    """
    end = path.rpartition("/")[2]
    if path == "/healthz" or (method in {"GET", ""} and end in _STREAM_ENDS):
        is_page = end == "events" and accept.strip().lower() != _EVENT_STREAM
        return LoadClass.BULK if is_page else None
    if end in CONTROLS or path in _CRITICAL or (path == TOKENS and _is_refresh(body)):
        return LoadClass.CRITICAL
    if end in _DISTANT_ENDS or path in _LOGINS_ELSEWHERE:
        return LoadClass.DISTANT
    if end in _BULK_ENDS:
        return LoadClass.BULK
    # A list ends in a name, one thing in its id.
    is_list = method == "GET" and path.startswith(_UNDER) and end.isalpha() and end not in _OF_ONE | _STREAM_ENDS
    return LoadClass.BULK if is_list else LoadClass.INTERACTIVE


def _is_refresh(body: bytes) -> bool:
    """Whether the form asks for a refresh and nothing else, whichever of several fields a reader would take."""
    if _FORM.fullmatch(body) is None:
        return False
    return [value for name, value in parse_qsl(body.decode()) if name == "grant_type"] == ["refresh_token"]
