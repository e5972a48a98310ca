"""The OpenAPI document: FastAPI's, with our problems for every error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from app.core.hosts import UNCHECKED
from app.core.requests import TOKENS
from app.dependencies import Require, declared_by
from app.routes.links import add_links
from app.routes.responses import UNCHANGED, problems
from app.schemas.base import Problem
from app.schemas.knowledge import DocumentCreate, DocumentUpload
from app.schemas.message import EventPage

SECURITY = "OAuth2PasswordBearer"


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
    for model in (Problem, EventPage, DocumentCreate, DocumentUpload):
        definition = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components |= definition.pop("$defs", {})
        components[model.__name__] = definition
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    flow = {"password": {"scopes": {}, "tokenUrl": TOKENS}}
    schema["components"]["securitySchemes"] = {SECURITY: {"type": "oauth2", "flows": flow}}
    _show_permissions(app, schema["paths"])
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if path not in UNCHECKED:
                operation["responses"].setdefault("421", problems(421)[421])
            creates = method == "post" and not {"201", "202"}.isdisjoint(operation["responses"])
            if method == "get" and path.startswith("/api/"):
                _show_entity_tag(operation)
            _complete(operation, is_versioned=path.startswith("/api/"), is_idempotent=creates)
    add_links(schema)
    return schema


def _show_permissions(app: FastAPI, paths: dict[str, dict[str, Any]]) -> None:
    """`x-permission` names what a route asks for, `caller` that it asks only who calls; a public route has none.

    `x-permission-of-others` is what it asks for besides, where the thing is somebody else's.
    """
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        declared = declared_by(dependant) if dependant is not None else None
        operations = paths.get(getattr(route, "path_format", None) or "", {})
        for method, operation in operations.items():
            if declared is not None and method.upper() in (getattr(route, "methods", None) or ()):
                operation["security"] = [{SECURITY: []}]
                operation["x-permission"] = str(declared.permission or "caller")
                if isinstance(declared, Require):
                    operation.setdefault("parameters", []).append(WORKSPACE_HEADER)
                    if declared.of_others is not None:
                        operation["x-permission-of-others"] = str(declared.of_others)


def _complete(operation: dict[str, Any], *, is_versioned: bool, is_idempotent: bool) -> None:
    """FastAPI's own 422 becomes a problem; any versioned route may fail for our own sake."""
    answers = operation["responses"]
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _sendable(parameter["schema"])
    if "HTTPValidationError" in str(answers.get("422")):
        answers["422"] = problems(422)[422]
    if "requestBody" in operation:
        answers.setdefault("413", problems(413)[413])
    if is_idempotent:
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
        answers.setdefault("409", problems(409)[409])
        answers.setdefault("422", problems(422)[422])
    if is_versioned:
        for status in (414, 429, 500, 503):
            answers.setdefault(str(status), problems(status)[status])


def _show_entity_tag(operation: dict[str, Any]) -> None:
    """Every JSON answer has a tag, by which it can be asked whether it has changed."""
    found = operation["responses"].get("200", {})
    if "application/json" not in found.get("content", {}):
        return
    found.setdefault("headers", {})["ETag"] = {"schema": {"type": "string"}}
    operation["responses"].setdefault("304", UNCHANGED[304])
    parameters = operation.setdefault("parameters", [])
    if not any(parameter["name"].lower() == "if-none-match" for parameter in parameters):
        parameters.append(IF_NONE_MATCH)


def _sendable(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null, which is no header and no part of an address: one leaves it out instead."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name != "anyOf"}}


WORKSPACE_HEADER = {
    "name": "x-workspace-id",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "format": "uuid", "title": "X-Workspace-Id"},
    "description": "default: the personal workspace",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "An `ETag` that was given before: 304 if it is still current.",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    "description": "The same key and body within 24 h give the first answer again (`Idempotency-Replayed: true`).",
}
_DESCRIPTION = """\
Discussions between LLM agents, humans and external programs. Lists are `{"items", "next_cursor"}`; errors are
problem+json (RFC 9457) with a stable `code`; times are RFC 3339 in UTC; ids are UUIDv7."""
