"""Requests and answers as the contract has them, without a transport: shared by every kind of client."""

from typing import Any
from urllib.parse import quote, urlsplit

from httpx2 import Response

from arena_client.errors import ArenaProblem, ArenaUnreachable

PREFIX = "/api/v1"
SHOWN_CHARACTERS = 200


def api_url(base_url: str) -> str:
    """The API's address below `base_url`, which may or may not end in `/api/v1`."""
    return f"{base_url.rstrip('/').removesuffix(PREFIX)}{PREFIX}"


def is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def path(*parts: str) -> str:
    """A path whose parts cannot be mistaken for more than one."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def check(response: Response) -> None:
    """Raise the `ArenaProblem` that a response is, if it is one; its body must have been read."""
    if response.is_success:
        return
    raise problem(response.status_code, response)


def problem(status: int, response: Response) -> ArenaProblem:
    """The problem in the body, or one made from the status where something in between answered."""
    body = _json(response)
    told = body if isinstance(body, dict) and "code" in body else {}
    return ArenaProblem(
        status,
        str(told.get("code", f"http_{status}")),
        str(told.get("detail") or response.reason_phrase or "the server refused without a reason"),
        told.get("request_id") or response.headers.get("X-Request-ID"),
        errors=told.get("errors"),
        retry_after_seconds=_seconds(response.headers.get("Retry-After")),
    )


def json_object(response: Response) -> dict[str, Any]:
    """The answer's JSON object; raise `ArenaUnreachable` if somebody else seems to have answered."""
    body = _json(response)
    if not isinstance(body, dict):
        start = response.text[:SHOWN_CHARACTERS]
        raise ArenaUnreachable(f"{response.request.url} answered, but not with JSON of Discussion Arena: {start!r}")
    return body


def _json(response: Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdecimal() else None
