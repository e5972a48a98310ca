"""What pydantic-ai and the SDKs below it raise, as our port says it."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic_ai import exceptions as theirs

from app.core.guarded_transport import AnswerTooLong, refused_address
from app.services.providers.base import (
    ModelAddressForbidden,
    ModelContextExceeded,
    ModelDisconnected,
    ModelError,
    ModelMalformed,
    ModelNotFound,
    ModelRateLimited,
    ModelRejected,
    ModelTimeouts,
    ModelUnauthorized,
    ModelUnavailable,
    ModelUnreachable,
)
from app.services.providers.deadline import timed_out
from app.services.providers.openai_errors import Complaint, complaint_of, refusal

_MOST_CAUSES = 20
_CATEGORIES: list[tuple[type[theirs.ModelAPIError], type[ModelError]]] = [
    (theirs.ModelContextWindowExceededError, ModelContextExceeded),
    (theirs.ModelAuthenticationError, ModelUnauthorized),
    (theirs.ModelNotFoundError, ModelNotFound),
    (theirs.ModelRateLimitError, ModelRateLimited),
    (theirs.ModelRequestRejectedError, ModelRejected),
    (theirs.ModelQuotaExceededError, ModelRejected),
    (theirs.ModelUnavailableError, ModelUnavailable),
    (theirs.ModelServerError, ModelUnavailable),
]


def failure_of(error: Exception, host: str, secrets: Sequence[str], timeouts: ModelTimeouts) -> ModelError:
    """The error to raise for it; its text holds no secret."""
    if (forbidden := refused_address(error)) is not None:
        return ModelAddressForbidden(f"{host} may not be called: {forbidden.detail}")
    if any(isinstance(cause, AnswerTooLong) for cause in _causes(error)):
        return _malformed(host, "the answer is too long")
    if isinstance(error, theirs.ModelAPIError):
        return _failed_call(error, host, secrets, timeouts)
    if isinstance(error, theirs.UserError):
        return ModelRejected(f"{host} cannot be asked this: {_without(error.message, secrets)}")
    if isinstance(error, theirs.UnexpectedModelBehavior | ValueError | LookupError | TypeError):
        return _malformed(host, "a chunk has an unknown shape")
    return ModelError(f"{host} cannot be called: {type(error).__name__}")


def _failed_call(error: theirs.ModelAPIError, host: str, secrets: Sequence[str], timeouts: ModelTimeouts) -> ModelError:
    if isinstance(error, theirs.ModelHTTPError):
        return _refusal(error, host, secrets)
    if isinstance(error, theirs.ModelConnectionError):
        return _cut(error, host, timeouts)
    complaint = _complaint(error.body, secrets)
    kind = next((ours for kind, ours in _CATEGORIES if isinstance(error, kind)), None)
    if kind is None and not error.in_stream and not complaint.message:
        return _malformed(host, "a chunk has an unknown shape")
    if kind is None:
        kind = ModelContextExceeded if complaint.is_about_context else ModelUnavailable
    return kind(_sentence(f"{host} failed while answering", complaint), retry_after_seconds=error.retry_after)


def _refusal(error: theirs.ModelHTTPError, host: str, secrets: Sequence[str]) -> ModelError:
    complaint = _complaint(error.body, secrets)
    if isinstance(error, theirs.ModelContextWindowExceededError):
        complaint = Complaint(complaint.message, is_about_context=True)
    status = 404 if isinstance(error, theirs.ModelNotFoundError) else error.status_code
    retry_after = None if error.retry_after is None else str(error.retry_after)
    return refusal(host, status, complaint, retry_after=retry_after)


def _cut(error: theirs.ModelConnectionError, host: str, timeouts: ModelTimeouts) -> ModelError:
    is_timeout = isinstance(error, theirs.ModelTimeoutError)
    if error.phase in {"connect", "pool"}:
        return timed_out(host, "connect", timeouts) if is_timeout else ModelUnreachable(f"{host} cannot be reached")
    if is_timeout:
        return timed_out(host, "first_token", timeouts)
    return ModelDisconnected(f"{host} broke the connection before the end of the reply")


def _complaint(body: object, secrets: Sequence[str]) -> Complaint:
    """Of an error's body, in whichever form an SDK has kept it."""
    document: Any = body
    if isinstance(body, str | bytes):
        try:
            document = json.loads(body)
        except ValueError:
            document = body
    if isinstance(document, dict) and isinstance(document.get("Error"), dict):  # botocore
        document = {"error": {"message": document["Error"].get("Message"), "code": document["Error"].get("Code")}}
    complaint = complaint_of(document, secret="")  # nosec B106 - the next line takes them out
    return Complaint(_without(complaint.message, secrets), complaint.is_about_context)


def _sentence(start: str, complaint: Complaint) -> str:
    return f"{start}: {complaint.message}" if complaint.message else start


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return text


def _malformed(host: str, why: str) -> ModelMalformed:
    return ModelMalformed(f"{host} sent a reply that is not understood: {why}")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < _MOST_CAUSES:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
