"""What every `ChatModel` promises. An implementation subclasses `ChatModelContract` and provides `subject`.

`subject` is an async fixture that takes the parametrised or default `timeouts` and yields a `Subject`.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

import pytest

from app.domain.prompt import ChatMessage, ToolCall
from app.services.providers.base import (
    ChatModel,
    ChatRequest,
    Finished,
    ModelContextExceeded,
    ModelDisconnected,
    ModelError,
    ModelMalformed,
    ModelNotFound,
    ModelRateLimited,
    ModelRejected,
    ModelTimedOut,
    ModelTimeouts,
    ModelUnauthorized,
    ModelUnavailable,
    TextDelta,
    ToolSpec,
)


class Scenario(StrEnum):
    """How the provider behind the model behaves."""

    PLAIN = "plain"
    SLOW = "slow"  # 10 tokens, 30 ms apart
    CUT = "cut"  # writes end within characters
    UNSTORABLE = "unstorable"  # NULs and lone surrogates
    EMPTY = "empty"
    BLANK = "blank"  # only white space
    NO_USAGE = "no_usage"
    CUT_SHORT = "cut_short"  # ended by max_tokens=3
    UNAUTHORIZED = "unauthorized"  # and its message quotes the key
    UNKNOWN_MODEL = "unknown_model"
    REJECTED = "rejected"
    CONTEXT_EXCEEDED = "context_exceeded"  # by any prompt
    OUTGROWN = "outgrown"  # the context is full after 2 tokens
    RATE_LIMITED = "rate_limited"  # for 7 s
    OVERLOADED = "overloaded"  # unavailable for 7 s
    UNAVAILABLE = "unavailable"
    FAILS_ONCE = "fails_once"
    MALFORMED = "malformed"  # after 2 tokens
    DISCONNECTS = "disconnects"  # after 3 tokens
    FAILS_MIDWAY = "fails_midway"  # an error in the stream, after 2 tokens
    SILENT = "silent"
    FALLS_SILENT = "falls_silent"  # after 2 tokens
    ENDLESS = "endless"  # fast
    ENDLESS_SLOW = "endless_slow"
    CALLS = "calls"  # two words, then `CALLS`, in pieces; words once their results are there


class Subject(Protocol):
    """A model under test, and its provider."""

    model: ChatModel
    secret: str

    def name_of(self, scenario: Scenario) -> str:
        """The model name under which the provider behaves so."""
        ...

    def text_of(self, scenario: Scenario, ordinal: int = 0) -> str:
        """What the provider's `ordinal`-th reply says."""
        ...

    def open_calls(self) -> int:
        """How many connections the provider has open."""
        ...


CALLS = [("calculator", {"expression": "2 + 3 > 4"}), ("look_up", {"about": 'a "café"', "most": 3})]
"""What `Scenario.CALLS` asks for."""

TOOLS = (
    ToolSpec(
        "calculator",
        "Reckons.",
        {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    ),
    ToolSpec(
        "look_up",
        "Finds what is known.",
        {"type": "object", "properties": {"about": {"type": "string"}, "most": {"type": "integer"}}},
    ),
)

PATIENT = ModelTimeouts(connect_seconds=5, first_token_seconds=10, idle_seconds=10, total_seconds=30)


def request(name: str, **params: int) -> ChatRequest:
    return ChatRequest(name, [ChatMessage("system", "You doubt."), ChatMessage("user", "Go remote?")], **params)


def with_tools(name: str) -> ChatRequest:
    return replace(request(name), tools=TOOLS)


def with_results(name: str, calls: Sequence[ToolCall]) -> ChatRequest:
    """The next request, after a reply of `Scenario.CALLS`."""
    first = with_tools(name)
    results = [ChatMessage("tool", f"result of {call.name}", tool_call_id=call.id) for call in calls]
    return replace(first, messages=[*first.messages, ChatMessage("assistant", "Well,", tool_calls=calls), *results])


async def collect(subject: Subject, scenario: Scenario, **params: int) -> tuple[str, Finished]:
    """The whole reply, having checked its form: texts, none empty, then `Finished`, then nothing."""
    return await collect_reply(subject, request(subject.name_of(scenario), **params))


async def collect_reply(subject: Subject, asked: ChatRequest) -> tuple[str, Finished]:
    items = [item async for item in subject.model.stream(asked)]
    texts, last = items[:-1], items[-1]
    assert isinstance(last, Finished)
    assert all(isinstance(item, TextDelta) and item.text for item in texts)
    return "".join(item.text for item in texts if isinstance(item, TextDelta)), last


async def fail(subject: Subject, scenario: Scenario) -> tuple[str, ModelError]:
    """The text that came before the failure, and the failure."""
    text = ""
    try:
        async for item in subject.model.stream(request(subject.name_of(scenario))):
            assert isinstance(item, TextDelta), "the stream ended well"
            text += item.text
    except ModelError as error:
        return text, error
    raise AssertionError("the stream ended without Finished")


async def settles(condition: Callable[[], bool], seconds: float = 2) -> bool:
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


class ChatModelContract:
    """The promises; collected through a subclass."""

    at_once = 40  # calls

    @pytest.fixture
    def timeouts(self) -> ModelTimeouts:
        return PATIENT

    async def test_a_reply_is_its_text_then_why_it_ended_and_what_it_used(self, subject):
        text, end = await collect(subject, Scenario.PLAIN)

        assert text == subject.text_of(Scenario.PLAIN)
        assert end.finish_reason == "stop"
        assert end.prompt_tokens > 0
        assert end.completion_tokens == 64

    async def test_tokens_are_handed_on_as_they_come(self, subject):
        clock = asyncio.get_running_loop().time
        stamps = [clock() async for _ in subject.model.stream(request(subject.name_of(Scenario.SLOW)))]

        assert len(stamps) > 8
        assert stamps[-1] - stamps[0] > 0.15

    async def test_characters_cut_between_writes_arrive_whole(self, subject):
        text, _ = await collect(subject, Scenario.CUT)

        assert text == subject.text_of(Scenario.CUT)
        assert not text.isascii()

    async def test_text_can_always_be_stored(self, subject):
        text, _ = await collect(subject, Scenario.UNSTORABLE)

        assert text == subject.text_of(Scenario.UNSTORABLE)
        assert "\0" not in text
        assert text.encode()

    async def test_an_empty_reply_is_only_its_end(self, subject):
        text, end = await collect(subject, Scenario.EMPTY)

        assert (text, end.completion_tokens) == ("", 0)

    async def test_white_space_is_text(self, subject):
        text, _ = await collect(subject, Scenario.BLANK)

        assert text.isspace()

    async def test_usage_that_is_not_told_is_none(self, subject):
        _, end = await collect(subject, Scenario.NO_USAGE)

        assert (end.prompt_tokens, end.completion_tokens) == (None, None)

    async def test_a_reply_cut_short_says_so(self, subject):
        text, end = await collect(subject, Scenario.CUT_SHORT, max_tokens=3)

        assert end.finish_reason == "length"
        assert subject.text_of(Scenario.CUT_SHORT).startswith(text)
        assert len(text.split()) == 3

    @pytest.mark.parametrize(
        ("scenario", "kind", "retryable"),
        [
            (Scenario.UNAUTHORIZED, ModelUnauthorized, False),
            (Scenario.UNKNOWN_MODEL, ModelNotFound, False),
            (Scenario.REJECTED, ModelRejected, False),
            (Scenario.CONTEXT_EXCEEDED, ModelContextExceeded, False),
            (Scenario.RATE_LIMITED, ModelRateLimited, True),
            (Scenario.UNAVAILABLE, ModelUnavailable, True),
        ],
    )
    async def test_a_refusal_has_its_type(self, subject, scenario, kind, retryable):
        text, error = await fail(subject, scenario)

        assert type(error) is kind
        assert error.retryable is retryable
        assert text == ""

    @pytest.mark.parametrize(
        ("scenario", "kind", "tokens"),
        [
            (Scenario.MALFORMED, ModelMalformed, 2),
            (Scenario.DISCONNECTS, ModelDisconnected, 3),
            (Scenario.FAILS_MIDWAY, ModelUnavailable, 2),
        ],
    )
    async def test_what_came_before_a_failure_was_handed_on(self, subject, scenario, kind, tokens):
        text, error = await fail(subject, scenario)

        assert type(error) is kind
        assert error.retryable
        assert text == " ".join(subject.text_of(scenario).split(" ")[:tokens])

    async def test_a_context_that_is_full_midway_has_its_type(self, subject):
        text, error = await fail(subject, Scenario.OUTGROWN)

        assert type(error) is ModelContextExceeded
        assert len(text.split()) == 2

    @pytest.mark.parametrize("scenario", [Scenario.RATE_LIMITED, Scenario.OVERLOADED])
    async def test_a_provider_that_asks_for_patience_says_when_to_come_back(self, subject, scenario):
        _, error = await fail(subject, scenario)

        assert error.retry_after_seconds == 7

    async def test_no_error_tells_the_key(self, subject):
        _, error = await fail(subject, Scenario.UNAUTHORIZED)

        shown = f"{error.detail} {error!r} {error.__cause__!r} {error.args}"
        assert subject.secret not in shown
        assert "401" in error.detail

    async def test_a_failed_call_does_not_spoil_the_next(self, subject):
        await fail(subject, Scenario.FAILS_ONCE)
        text, _ = await collect(subject, Scenario.FAILS_ONCE)

        assert text == subject.text_of(Scenario.FAILS_ONCE, 1)

    @pytest.mark.parametrize(
        ("scenario", "phase", "timeouts"),
        [
            (Scenario.SILENT, "first_token", ModelTimeouts(5, 0.15, 5, 10)),
            (Scenario.FALLS_SILENT, "idle", ModelTimeouts(5, 5, 0.15, 10)),
            (Scenario.ENDLESS_SLOW, "total", ModelTimeouts(5, 5, 5, 0.3)),
            (Scenario.SILENT, "total", ModelTimeouts(5, 5, 5, 0.15)),
        ],
    )
    async def test_waiting_has_an_end(self, subject, timeouts, scenario, phase):
        started = asyncio.get_running_loop().time()

        _, error = await fail(subject, scenario)

        assert isinstance(error, ModelTimedOut)
        assert error.phase == phase
        limit = getattr(timeouts, f"{phase}_seconds")
        assert limit <= asyncio.get_running_loop().time() - started < limit + 3
        assert await settles(lambda: subject.open_calls() == 0)

    @pytest.mark.parametrize("timeouts", [ModelTimeouts(5, 5, 0.4, 20)])
    async def test_a_slow_consumer_is_not_a_silent_model(self, subject, timeouts):
        text = ""
        async for item in subject.model.stream(request(subject.name_of(Scenario.SLOW))):
            text += getattr(item, "text", "")
            await asyncio.sleep(timeouts.idle_seconds * 1.2)

        assert text == subject.text_of(Scenario.SLOW)

    async def test_a_reply_without_end_is_given_up(self, subject):
        text, error = await fail(subject, Scenario.ENDLESS)

        assert type(error) is ModelMalformed
        assert len(text) <= 1024 * 1024
        assert await settles(lambda: subject.open_calls() == 0)

    async def test_a_provider_that_does_not_keep_to_the_limit_is_cut_at_it(self, subject):
        text, end = await collect(subject, Scenario.ENDLESS_SLOW, max_tokens=20)

        assert text == " ".join(subject.text_of(Scenario.ENDLESS_SLOW).split(" ")[:20])
        assert end.finish_reason == "length"
        assert await settles(lambda: subject.open_calls() == 0)

    async def test_closing_the_stream_ends_the_call_at_the_provider(self, subject):
        async with aclosing(subject.model.stream(request(subject.name_of(Scenario.ENDLESS_SLOW)))) as stream:
            await anext(stream)
            assert subject.open_calls() == 1

        assert await settles(lambda: subject.open_calls() == 0, seconds=1.5)

    @pytest.mark.parametrize("scenario", [Scenario.SILENT, Scenario.ENDLESS_SLOW])
    async def test_cancelling_the_consumer_ends_the_call_at_the_provider(self, subject, scenario):
        task = asyncio.create_task(collect(subject, scenario))
        assert await settles(lambda: subject.open_calls() == 1)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await settles(lambda: subject.open_calls() == 0, seconds=1.5)

    async def test_tools_that_the_model_wants_called_are_told_at_the_end(self, subject):
        text, end = await collect_reply(subject, with_tools(subject.name_of(Scenario.CALLS)))

        assert len(text.split()) == 2
        assert end.finish_reason == "tool_calls"
        assert [(call.name, json.loads(call.arguments)) for call in end.tool_calls] == CALLS
        assert len({call.id for call in end.tool_calls}) == len([call.id for call in end.tool_calls if call.id]) == 2

    async def test_after_the_results_of_its_calls_the_model_goes_on(self, subject):
        name = subject.name_of(Scenario.CALLS)
        _, asked = await collect_reply(subject, with_tools(name))

        text, end = await collect_reply(subject, with_results(name, asked.tool_calls))

        assert text == subject.text_of(Scenario.CALLS, 1)
        assert (end.finish_reason, tuple(end.tool_calls)) == ("stop", ())

    async def test_calls_at_once_do_not_mix(self, subject):
        replies = await asyncio.gather(*(collect(subject, Scenario.PLAIN) for _ in range(self.at_once)))

        expected = sorted(subject.text_of(Scenario.PLAIN, ordinal) for ordinal in range(self.at_once))
        assert sorted(text for text, _ in replies) == expected
        assert len(set(expected)) > 10
