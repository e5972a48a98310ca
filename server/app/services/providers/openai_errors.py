"""What an OpenAI-compatible provider's refusals mean."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from app.services.providers.base import (
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)

MAX_QUOTED_CHARACTERS = 300


def refusal(host: str, status: int, message: str = "", *, retry_after: str | None = None) -> ModelError:
    """The error for an answer other than 200; `message` is the provider's own, already without secrets."""
    detail = f"{host} answered {status}{': ' + message if message else ''}"
    if status in {401, 403}:
        return ModelUnauthorized(detail)
    if status == 404:
        return ModelNotFound(detail)
    if status == 429:
        return ModelRateLimited(detail, retry_after_seconds=retry_after_seconds(retry_after))
    if status >= 500:
        return ModelUnavailable(detail)
    if 300 <= status < 400:
        return ModelRejected(f"{detail} (redirects are not followed)")
    return ModelRejected(detail)


def stream_error(host: str, error: object, *, secret: str) -> ModelError:
    """The error for an `error` object inside a stream; its code is taken for a status where it is one."""
    message = quotable(message_of({"error": error}), secret=secret)
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    if isinstance(code, int) and 400 <= code < 600:
        return refusal(host, code, message)
    return ModelUnavailable(f"{host} failed while answering{': ' + message if message else ''}")


def message_in(body: bytes) -> str:
    """The provider's own words in an error body, whichever of the usual shapes it has."""
    try:
        return message_of(orjson.loads(body))
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def message_of(document: Any) -> str:
    """Dig for the sentence: `{"error": {"message"}}`, `{"error": ""}`, `{"message"}`, `{"detail"}`, a list of them."""
    for _ in range(4):
        if isinstance(document, list) and document:
            document = document[0]
        elif isinstance(document, dict):
            document = next((document[key] for key in ("error", "message", "detail", "msg") if document.get(key)), "")
    return document if isinstance(document, str) else ""


def quotable(message: str, *, secret: str) -> str:
    """One short line that is safe to show, log and store."""
    if secret:
        message = message.replace(secret, "[key]")
    message = " ".join("".join(c if c.isprintable() else " " for c in message[:4000]).split())
    return message if len(message) <= MAX_QUOTED_CHARACTERS else message[: MAX_QUOTED_CHARACTERS - 1] + "…"


def retry_after_seconds(value: str | None) -> float | None:
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
