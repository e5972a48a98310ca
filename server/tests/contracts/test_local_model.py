"""The local language model, as it is, keeps what of the contract a real model can be asked to show.

It is the OpenAI-compatible client that keeps the rest, against a server that can be told how to fail
(`test_openai_compatible.py`): what depends on scripted words, faults, pauses and endless replies is left out here.
"""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace

import psutil
import pytest

from app.core.local_model import MODEL_NAME, SLOT_TOKENS
from app.domain.prompt import ChatMessage, ToolCall
from app.engines.local_model import KEY_VARIABLE, SLOTS
from app.engines.ports import answers, free_port
from app.services.providers.base import (
    ChatRequest,
    Finished,
    ModelContextExceeded,
    ModelTimeouts,
    ModelUnauthorized,
    TextDelta,
    ToolSpec,
)
from app.services.providers.openai_compatible import OpenAICompatibleModel
from tests.contracts.chat_model import settles

pytestmark = pytest.mark.anyio

KEY = "sk-local-0123456789"
TIMEOUTS = ModelTimeouts(connect_seconds=10, first_token_seconds=60, idle_seconds=60, total_seconds=120)
LONG = 2000  # tokens that nobody waits for
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
PAINT = ToolSpec("paint", "Paints a wall in a colour.", COLOUR)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """The server in a process of its own, as the supervisor starts it; and its port."""
    port = free_port()
    log = (tmp_path_factory.mktemp("local_model") / "log").open("wb")
    command = [sys.executable, "-m", "app.engines.local_model", "--port", str(port)]
    started = subprocess.Popen(command, env={**os.environ, KEY_VARIABLE: KEY}, stdout=log, stderr=log)
    try:
        asyncio.run(_answers(port))
        yield psutil.Process(started.pid), port
    finally:
        started.kill()
        started.wait()
        log.close()


async def _answers(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if await asyncio.to_thread(answers, "127.0.0.1", port, "/health"):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)


@pytest.fixture
async def model(process):
    model = OpenAICompatibleModel(f"http://127.0.0.1:{process[1]}/v1", KEY, TIMEOUTS)
    yield model
    await model.close()


@pytest.fixture
def open_calls(process):
    def count() -> int:
        return sum(one.status == psutil.CONN_ESTABLISHED for one in process[0].net_connections("tcp"))

    return count


def asking(words: str = "Name three colours.", **params) -> ChatRequest:
    return replace(ChatRequest(MODEL_NAME, [ChatMessage("system", "Be brief."), ChatMessage("user", words)]), **params)


async def collect(model, request: ChatRequest) -> tuple[list[str], Finished]:
    items = [item async for item in model.stream(request)]
    assert all(isinstance(item, TextDelta) and item.text for item in items[:-1])
    assert isinstance(items[-1], Finished)
    return [item.text for item in items[:-1]], items[-1]


async def test_a_reply_is_its_text_in_pieces_then_what_it_used(model):
    texts, end = await collect(model, asking(max_tokens=12, temperature=0))

    assert len(texts) > 3
    assert "".join(texts).strip()
    assert end.prompt_tokens > 5
    assert 0 < end.completion_tokens <= 12


async def test_a_reply_cut_short_says_so(model):
    _, end = await collect(model, asking("Count to a hundred.", max_tokens=3))

    assert (end.finish_reason, end.completion_tokens) == ("length", 3)


async def test_at_temperature_0_the_same_is_said_again(model):
    asked = asking(max_tokens=10, temperature=0, seed=1)

    assert await collect(model, asked) == await collect(model, asked)


async def test_another_key_is_refused_and_not_told(process):
    stranger = OpenAICompatibleModel(f"http://127.0.0.1:{process[1]}/v1", "sk-wrong-0123456789", TIMEOUTS)

    with pytest.raises(ModelUnauthorized) as caught:
        await collect(stranger, asking())
    await stranger.close()

    assert "sk-wrong" not in f"{caught.value.detail} {caught.value!r}"


async def test_a_prompt_beyond_all_slots_exceeds_the_context(model):
    with pytest.raises(ModelContextExceeded):
        await collect(model, asking("word " * (SLOTS * SLOT_TOKENS + 100), max_tokens=1))


async def test_closing_the_stream_ends_the_call(model, open_calls):
    async with aclosing(model.stream(asking("Tell a long story.", max_tokens=LONG))) as stream:
        await anext(stream)
        assert open_calls() == 1

    assert await settles(lambda: open_calls() == 0, seconds=5)


async def test_cancelling_the_consumer_ends_the_call(model, open_calls):
    task = asyncio.create_task(collect(model, asking("Tell a long story.", max_tokens=LONG)))
    assert await settles(lambda: open_calls() == 1, seconds=5)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await settles(lambda: open_calls() == 0, seconds=5)


async def test_calls_at_once_do_not_mix(model):
    asked = [asking(f"Say the word {word}.", max_tokens=8, temperature=0) for word in ("apple", "river", "seven")]

    together = await asyncio.gather(*(collect(model, one) for one in asked))

    assert all(end.completion_tokens for _, end in together)
    assert len({"".join(texts) for texts, _ in together}) == len(asked)


async def test_a_schema_is_kept_to(model):
    texts, _ = await collect(model, asking("Which colour?", max_tokens=40, temperature=0, response_schema=COLOUR))

    assert json.loads("".join(texts))["colour"] in {"red", "blue"}


async def test_only_tools_that_are_offered_are_called(model):
    """Whether it calls one is up to a model of this size."""
    offered = asking("Paint the wall red.", max_tokens=60, temperature=0, tools=[PAINT])
    texts, end = await collect(model, offered)

    assert texts or end.tool_calls
    assert {call.name for call in end.tool_calls} <= {"paint"}


async def test_results_of_tools_are_read(model):
    call = ToolCall("call_1", "paint", '{"colour": "red"}')
    first = asking("Paint the wall red.", max_tokens=4, temperature=0, tools=[PAINT])
    told = [*first.messages, ChatMessage("assistant", "", tool_calls=[call])]

    ends = [
        (await collect(model, replace(first, messages=[*told, ChatMessage("tool", result, tool_call_id="call_1")])))[1]
        for result in ("Done.", "Done. The wall is red now, and so are the door and both of its windows.")
    ]

    assert ends[1].prompt_tokens > ends[0].prompt_tokens + 10
