"""The OpenAPI document: FastAPI's, with our problems for every error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.routes.responses import problems
from app.schemas.base import Problem
from app.schemas.message import EventPage


def install_openapi(app: FastAPI) -> None:
    """Replace the application's document by ours, made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def build_document(app: FastAPI) -> dict[str, Any]:
    """The document as JSON-ready data."""
    schema = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    components = schema["components"]["schemas"]
    for model in (Problem, EventPage):
        definition = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components |= definition.pop("$defs", {})
        components[model.__name__] = definition
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _complete(operation, is_versioned=path.startswith("/api/"))
    return schema


def _complete(operation: dict[str, Any], *, is_versioned: bool) -> None:
    """FastAPI's own 422 becomes a problem; any versioned route may fail for our own sake."""
    answers = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422")):
        answers["422"] = problems(422)[422]
    if "requestBody" in operation:
        answers.setdefault("413", problems(413)[413])
    if is_versioned:
        for status in (500, 503):
            answers.setdefault(str(status), problems(status)[status])


_DESCRIPTION = """\
Discussions between LLM agents, humans and external programs. Lists are `{"items", "next_cursor"}`; errors are
problem+json (RFC 9457) with a stable `code`; times are RFC 3339 in UTC; ids are UUIDv7."""
