"""Bodies that hand in a document: JSON with a text or a URL, or a form with a file."""

import json
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from app.core.multipart import MEDIA_TYPE, BadForm, Part, is_form, parse_form
from app.schemas.base import Line
from app.schemas.knowledge import DocumentCreate
from app.services.knowledge.submissions import LONGEST_NAME, Submission, in_json, safe_name

_TITLE = TypeAdapter(Line)
BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/DocumentCreate"}},
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/DocumentUpload"}},
        },
    }
}
"""What the OpenAPI document says of them."""


async def read_submission(request: Request) -> Submission:
    """What the body hands in; raise `RequestValidationError` or `BadForm`."""
    content_type = request.headers.get("content-type", "")
    body = await request.body()
    if is_form(content_type):
        return _in_form(parse_form(content_type, body))
    if not _is_json(content_type):
        raise _fault("wrong_type", f"send JSON (application/json), or a form with a file ({MEDIA_TYPE})", "body")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise _fault("json_invalid", f"this is no JSON: {error.msg}", "body", error.pos) from None
    except UnicodeDecodeError:
        raise _fault("json_invalid", "this is no JSON: it is not in UTF-8", "body") from None
    except (ValueError, RecursionError):
        raise _fault("json_invalid", "this JSON holds a number too long to read, or nests too deep", "body") from None
    try:
        return in_json(DocumentCreate.model_validate(document))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        placed = [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        raise RequestValidationError(placed, body=document) from None


Handed = Annotated[Submission, Depends(read_submission)]


def _in_form(parts: list[Part]) -> Submission:
    fields: dict[str, Part] = {}
    for part in parts:
        if part.name not in {"file", "title"}:
            raise _fault("extra_forbidden", "Extra inputs are not permitted", "body", part.name)
        if part.name in fields:
            raise _fault("repeated", "the form has this field twice", "body", part.name)
        fields[part.name] = part
    file, title = fields.get("file"), fields.get("title")
    if file is None or file.file_name is None:
        raise _fault("missing", "the form needs a file in its field `file`", "body", "file")
    return Submission(
        "file",
        title=_title(title) if title is not None else None,
        file_name=safe_name(file.file_name) or "document",
        declared=file.media_type[:LONGEST_NAME] if file.media_type else None,
        data=file.data,
    )


def _title(part: Part) -> str:
    try:
        return _TITLE.validate_python(bytes(part.data).decode())
    except UnicodeDecodeError:
        raise BadForm("the title must be in UTF-8") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise _fault(fault["type"], fault["msg"], "body", "title") from None


def _is_json(content_type: str) -> bool:
    main, _, sub = content_type.partition(";")[0].strip().lower().partition("/")
    return main == "application" and (sub == "json" or sub.endswith("+json"))


def _fault(kind: str, sentence: str, *place: str | int) -> RequestValidationError:
    fault = {"type": kind, "loc": place, "msg": sentence, "input": None}
    return RequestValidationError([fault], body={str(name): None for name in place[1:]})
