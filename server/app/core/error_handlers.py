"""One table from kinds of errors to HTTP: problem+json (RFC 9457) for every error a client can get.

A WebSocket is closed with 4000 and the same status.
"""

import math
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core import errors
from app.core.cache import CACHE_ERRORS
from app.core.monitoring import current_request_id
from app.core.titles import title_of

log = structlog.stdlib.get_logger(__name__)

STATUS_BY_KIND: dict[type[errors.ArenaError], int] = {
    errors.Invalid: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TimedOut: 408,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.RateLimited: 429,
    errors.DependencyFailed: 424,
    errors.UpstreamFailed: 502,
    errors.Unavailable: 503,
    errors.StartupFailed: 500,
}
_CODE_BY_STATUS = {
    400: "malformed_request",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def status_of(error: errors.ArenaError) -> int:
    """The HTTP status of the error's kind."""
    for kind in type(error).__mro__:
        if kind in STATUS_BY_KIND:
            return STATUS_BY_KIND[kind]
    return 500


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    faults: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem+json response."""
    body: dict[str, Any] = {
        "type": f"/errors/{code}",
        "title": title_of(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": current_request_id(),
    }
    if faults is not None:
        body["errors"] = faults
    return Response(orjson.dumps(body), status, dict(headers or {}), media_type="application/problem+json")


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header that says when to come back: never too early, and not at once."""
    return {"Retry-After": str(max(1, math.ceil(seconds or 1)))}


async def _on_arena_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ArenaError)
    return answer_to(error)


def answer_to(error: errors.ArenaError) -> Response:
    """The problem that an error of ours is."""
    headers = {}
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    seconds = getattr(error, "retry_after_seconds", None)
    if seconds is not None or isinstance(error, errors.Unavailable | errors.RateLimited):
        headers |= retry_after(seconds)
    faults = None
    if isinstance(error, errors.Invalid):
        faults = [{"loc": list(error.loc), "msg": error.detail, "type": error.code}]
    return problem(status_of(error), error.code, error.detail, faults=faults, headers=headers)


def _printable(value: object) -> Any:
    return value if isinstance(value, int) else str(value).encode("utf-8", "replace").decode()[:200]


def _place(fault: dict[str, Any], body: Any) -> list[object]:
    """Where in the request it is, as the client wrote it: without pydantic's names for the kinds it tried."""
    source, *path = fault["loc"]
    if source != "body" or fault["type"] == "json_invalid":
        return [source, *path]
    place, inside = [source], body
    for depth, part in enumerate(path, 1):
        is_there = (isinstance(inside, Mapping) and part in inside) or (
            isinstance(inside, list) and isinstance(part, int) and 0 <= part < len(inside)
        )
        if is_there:
            place.append(part)
            inside = inside[part]
        elif fault["type"] == "missing" and depth == len(path):
            place.append(part)
    return place


def sentence_of(fault: Mapping[str, Any]) -> str:
    """What is wrong, of one of the errors of a Pydantic `ValidationError`."""
    if fault["type"] == "too_long" and isinstance(fault.get("input"), str):  # Pydantic would speak of items
        return f"must have at most {fault['ctx']['max_length']} characters"
    sentence: str = fault["msg"]
    return sentence.removeprefix("Value error, ")


async def _on_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {
            "loc": [_printable(part) for part in _place(fault, error.body)],
            "msg": _printable(sentence_of(fault)),
            "type": fault["type"],
        }
        for fault in error.errors()[:50]
    ]
    first = faults[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0] if first["loc"] else "request")
    return problem(422, "validation_failed", f"{where}: {first['msg']}", faults=faults)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    if status == 400:
        # FastAPI's answer to a body that is not UTF-8 or not the declared form.
        fault = {"loc": ["body"], "msg": "the body cannot be read", "type": "malformed_body"}
        return problem(422, "malformed_body", "the body cannot be read: it is not valid UTF-8 JSON", faults=[fault])
    detail = {
        404: "there is nothing at this address",
        405: "this address does not take that method",
        413: "the request body is over the limit",
    }.get(status, str(error.detail))
    code = _CODE_BY_STATUS.get(status, title_of(status).lower().replace(" ", "_"))
    headers = {"Allow": _allowed(request)} if status == 405 else error.headers
    return problem(status, code, detail, headers=headers)


def _allowed(request: Request) -> str:
    """Every method the address takes; the router itself names only those of the first route that matches."""
    given = request.url.path.split("/")
    methods: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        parts = template.split("/")
        if len(parts) == len(given) and all(
            part == other or part.startswith("{") for part, other in zip(parts, given, strict=True)
        ):
            methods |= {method.upper() for method in operations}
    return ", ".join(sorted(methods))


async def _on_cache_error(_request: Request, error: Exception) -> Response:
    log.warning("cache_failed", reason=type(error).__name__)
    return problem(503, "unavailable", "a needed service is away; try again shortly", headers={"Retry-After": "1"})


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(errors.ArenaError, _on_arena_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for kind in CACHE_ERRORS[:1]:
        app.add_exception_handler(kind, _on_cache_error)
