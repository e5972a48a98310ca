"""What Schemathesis loads in its own process: checks of ours, and the things that requests may be about."""

import json
import os
from typing import get_args

import schemathesis
from pydantic_core.core_schema import ErrorType

STATED_BY_SCHEMAS = set(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""Kinds of faults that a JSON schema can state; the rest are rules across fields, or about what a text means."""
THINGS: dict[str, str] = json.loads(os.environ.get("ARENA_PROOF_THINGS", "{}"))
"""By the names that addresses have for them; drawn ids are nobody's, and would be answered 404 before all else."""


def is_sound(case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """Let sound requests be about things that there are, in a workspace that is the caller's."""
    if not is_sound(case):
        return
    if case.headers is not None:
        case.headers.pop("x-workspace-id", None)
    if case.method != "DELETE" and case.meta.phase.name.value != "stateful":
        for name in case.path_parameters or {}:
            case.path_parameters[name] = THINGS.get(name, case.path_parameters[name])
    if isinstance(case.body, dict):
        _name_what_there_is(case.operation.path, case.body)


def _name_what_there_is(path: str, body: dict) -> None:
    if path == "/api/v1/agents" and body.get("kind", "llm") == "llm":
        body["model"] = "openai/fake"
        body.pop("endpoint_url", None)
    if path == "/api/v1/discussions" and THINGS:
        body["participants"] = [{"agent_id": THINGS["agent_id"]}]
        body["document_ids"] = [THINGS["document_id"]]
    if body.get("knowledge_base_ids"):
        body["knowledge_base_ids"] = [THINGS["base_id"]]


@schemathesis.check
def what_the_schema_allows_is_refused_by_a_rule_only(ctx, response, case) -> None:
    """A request made by the schema is refused only for what the schema cannot say."""
    if response.status_code != 422 or not is_sound(case):
        return
    kinds = {fault["type"] for fault in response.json()["errors"]} & STATED_BY_SCHEMAS
    assert not kinds, f"the document should have said what is refused here: {sorted(kinds)}"


@schemathesis.check
def an_error_is_a_problem(ctx, response, case) -> None:
    """Whatever goes wrong is told as problem+json with a code and the request's id."""
    if response.status_code < 400 or response.request.method == "HEAD" or case.path == "/readyz":
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers["content-type"]
    problem = response.json()
    assert problem["status"] == response.status_code
    assert [problem["request_id"]] == response.headers["x-request-id"]


@schemathesis.check
class WhatTheCallerMayDoIsDone:
    """So that the other checks look at more than refusals: this many operations were carried out at least once."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def after_response(self, ctx, response, case) -> None:
        if response.status_code < 300:
            self._done.add(case.operation.label)

    def after_run(self, ctx) -> None:
        wanted = int(os.environ.get("ARENA_PROOF_DONE", "0"))
        assert len(self._done) >= wanted, f"only {len(self._done)} operations were ever done: {sorted(self._done)}"
