"""What an OpenAI-compatible provider's refusals mean."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from app.services.providers.base import (
    ModelContextExceeded,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)

MAX_QUOTED_CHARACTERS = 300
_MAX_READ_CHARACTERS = 4000
_KINDS: dict[int, type[ModelError]] = {
    401: ModelUnauthorized,
    403: ModelUnauthorized,
    404: ModelNotFound,
    408: ModelUnavailable,
    413: ModelContextExceeded,  # also Groq's answer to a prompt over the tokens of a minute
    429: ModelRateLimited,
}
# OpenAI, Azure, Groq, DeepSeek; llama.cpp; Together.
_CONTEXT_CODES = ("context_length_exceeded", "exceed_context_size_error", "context_window_exceeded")
_TOO_LONG = re.compile(
    # OpenAI, vLLM, SGLang, Mistral, OpenRouter, LM Studio, Ollama; in either order.
    r"(context|model|prompt|input)[ _-](length|window|size|limit).{0,80}(exceed|overflow|too (long|large|small))"
    r"|(exceed|longer than|greater than|larger than|maximum|only).{0,80}"
    r"(context|model|prompt)[ _-](length|window|size|limit)"
    # Anthropic, Bedrock, Gemini, Text Generation Inference, Groq.
    r"|(prompt|input) (is|are) too long|input token count.{0,40}exceed|`?inputs`? (tokens|must have less)"
    r"|reduce the length of the (messages|prompt|input)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a provider says of a failure: a line that is safe to show, and whether it means the prompt's length."""

    message: str = ""
    is_about_context: bool = False


def refusal(
    host: str, status: int, complaint: Complaint = Complaint(), *, retry_after: str | None = None
) -> ModelError:
    """The error for an answer other than 200."""
    detail = f"{host} answered {status}{': ' + complaint.message if complaint.message else ''}"
    if 300 <= status < 400:
        detail += " (redirects are not followed)"
    return _kind(status, complaint)(detail, retry_after_seconds=_retry_after_seconds(retry_after))


def _kind(status: int, complaint: Complaint) -> type[ModelError]:
    if status in _KINDS:
        return _KINDS[status]
    if status >= 400 and complaint.is_about_context:
        return ModelContextExceeded
    return ModelUnavailable if status >= 500 else ModelRejected


def stream_error(host: str, error: object, *, secret: str) -> ModelError:
    """The error for an `error` object inside a stream; its code is taken for a status where it is one."""
    complaint = complaint_of({"error": error}, secret=secret)
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    if isinstance(code, int) and 400 <= code < 600:
        return refusal(host, code, complaint)
    detail = f"{host} failed while answering{': ' + complaint.message if complaint.message else ''}"
    return ModelContextExceeded(detail) if complaint.is_about_context else ModelUnavailable(detail)


def complaint_in(body: bytes, *, secret: str) -> Complaint:
    """Read an error body, whichever of the usual shapes it has."""
    return complaint_of(_document(body), secret=secret)


def complaint_of(document: object, *, secret: str) -> Complaint:
    message = _sentence(document)
    error = document.get("error") if isinstance(document, dict) else None
    names = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    is_about_context = any(name in names for name in _CONTEXT_CODES) or bool(
        _TOO_LONG.search(message[:_MAX_READ_CHARACTERS])
    )
    return Complaint(_quotable(message, secret=secret), is_about_context)


def error_in(body: bytes) -> object:
    """The `error` of a document that was sent with a status of 200, None if it holds none."""
    document = _document(body)
    return document.get("error") if isinstance(document, dict) else None


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _sentence(document: Any) -> str:
    """Dig for it: `{"error": {"message"}}`, `{"error": ""}`, `{"message"}`, `{"detail"}`, a list of them."""
    for _ in range(4):
        if isinstance(document, list) and document:
            document = document[0]
        elif isinstance(document, dict):
            document = next((document[key] for key in ("error", "message", "detail", "msg") if document.get(key)), "")
    return document if isinstance(document, str) else ""


def _quotable(message: str, *, secret: str) -> str:
    """One short line that is safe to show, log and store."""
    if secret:
        message = message.replace(secret, "[key]")
    printable = "".join(c if c.isprintable() else " " for c in message[:_MAX_READ_CHARACTERS])
    message = " ".join(printable.split())
    return message if len(message) <= MAX_QUOTED_CHARACTERS else message[: MAX_QUOTED_CHARACTERS - 1] + "…"


def _retry_after_seconds(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3); None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
