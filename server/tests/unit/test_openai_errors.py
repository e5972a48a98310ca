"""What providers say when a prompt is too long, and when it is something else."""

import orjson
import pytest

from app.services.providers.base import (
    ModelContextExceeded,
    ModelRateLimited,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
)
from app.services.providers.openai_errors import complaint_in, refusal, stream_error


def answered(status, body):
    return refusal("host", status, complaint_in(orjson.dumps(body), secret="sk-secret"))


def error(message, **fields):
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("Please shorten.", type="invalid_request_error", code="context_length_exceeded")),
        (400, error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000.")),
        (400, error("the request exceeds the available context size", code=400, type="exceed_context_size_error")),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}),
        (400, error("The decoder prompt (length 5000) is longer than the maximum model length of 4096.")),
        (400, error("prompt is too long: 200001 tokens > 199999 maximum")),
        (400, error("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000")),
        (400, error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")),
        (400, error("Prompt contains 40000 tokens, too large for model with 32768 maximum context length")),
        (422, error("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000")),
        (400, {"detail": "The input (9000 tokens) is longer than the model's context length (8192 tokens)."}),
        (400, error("Please reduce the length of the messages or completion.")),
        (400, error("Your input exceeds the context window of this model.")),
        (413, error("Request too large for model in organization on tokens per minute")),
        (500, error("the input length exceeds the context length")),
    ],
)
def test_a_prompt_that_is_too_long_is_recognised(status, body):
    refused = answered(status, body)

    assert type(refused) is ModelContextExceeded
    assert refused.retryable is False


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            400,
            error("max_tokens is too large: 5000. This model supports at most 4096 completion tokens"),
            ModelRejected,
        ),
        (400, error("Unsupported value: 'temperature' does not support 0.7 with this model"), ModelRejected),
        (400, error("Invalid 'messages[0].content': string too long."), ModelRejected),
        (401, error("Your plan does not include the maximum context length"), ModelUnauthorized),
        (429, error("Limit reached: prompt tokens exceed the maximum model limit per minute"), ModelRateLimited),
        (408, error("Request timed out"), ModelUnavailable),
        (529, error("Overloaded"), ModelUnavailable),
        (500, {"error": ["odd"]}, ModelUnavailable),
        (500, {"error": {"code": {"a": 1}, "type": ["x"]}}, ModelUnavailable),
    ],
)
def test_other_refusals_are_not_taken_for_it(status, body, kind):
    assert type(answered(status, body)) is kind


@pytest.mark.parametrize(
    "problem",
    [
        {"message": "context full", "code": "context_length_exceeded"},
        {"message": "the request exceeds the available context size", "code": 400},
        {"message": "failed", "type": "exceed_context_size_error", "code": 500},
        "maximum context length is 4096 tokens",
    ],
)
def test_a_context_exceeded_within_a_stream_is_recognised(problem):
    assert type(stream_error("host", problem, secret="")) is ModelContextExceeded


def test_the_key_is_struck_from_what_the_provider_says():
    refused = answered(400, error("maximum context length reached by sk-secret"))

    assert "sk-secret" not in f"{refused!r} {refused.detail}"
