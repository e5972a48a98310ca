"""OpenAPI links: what can be done next with a thing that a request has just made, found from the document itself."""

import re
from typing import Any

Json = dict[str, Any]


def add_links(document: Json) -> None:
    """Every answer that made a thing leads to every operation on it."""
    paths = document["paths"]
    for path, operations in paths.items():
        for status, answer in operations.get("post", {}).get("responses", {}).items():
            made = _model_of(document, answer) if status in {"201", "202"} else {}
            if "id" not in made.get("properties", {}):
                continue
            links = _links(paths, path, made, _parameter_for(document, path, answer))
            if links:
                answer["links"] = links


def _links(paths: dict[str, Json], path: str, made: Json, parameter: str | None) -> Json:
    given = {name: f"$request.path.{name}" for name in _names(path)}
    given |= {name: f"$response.body#/{name}" for name in made["properties"]}
    given |= {str(parameter): "$response.body#/id"}
    return {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "parameters": {f"path.{name}": given[name] for name in _names(template)},
        }
        for template, operations in paths.items()
        for operation in operations.values()
        if parameter in _names(template) and given.keys() >= set(_names(template))
    }


def _parameter_for(document: Json, path: str, answer: Json) -> str | None:
    """The name that the thing's id has in addresses: its collection's, as in `/agents`, else that of one of its model.

    A fork, made at `/discussions/{discussion_id}/fork`, is a discussion.
    """
    paths = document["paths"]
    by_collection = f"{path.rpartition('/')[2].removesuffix('s')}_id".replace("-", "_")
    if any(by_collection in _names(template) for template in paths):
        return by_collection
    model = _schema_of(answer)
    for template, operations in paths.items():
        if (
            template.endswith("}")
            and _schema_of(operations.get("get", {}).get("responses", {}).get("200", {})) == model
        ):
            return _names(template)[-1]
    return None


def _names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _schema_of(answer: Json) -> Json:
    schema: Json = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _model_of(document: Json, answer: Json) -> Json:
    name = _schema_of(answer).get("$ref", "").rpartition("/")[2]
    model: Json = document["components"]["schemas"].get(name, {})
    return model
