"""A replay keeps what of the contract concerns a provider that is not there."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.services.providers.base import ModelError, ModelTimedOut, ModelTimeouts
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.recording import Recorder, RecordingModel, recording_name
from app.services.providers.replay import Recordings, ReplayModel
from bench.fake_behaviour import reply_text
from bench.fake_model import FakeModelServer

pytest.register_assert_rewrite("tests.contracts.chat_model")

from tests.contracts.chat_model import (  # noqa: E402 - after the assert rewriting
    ChatModelContract,
    Scenario,
    collect,
    collect_reply,
    fail,
    request,
    with_results,
    with_tools,
)
from tests.contracts.fake_provider import KEY, NAMES  # noqa: E402

pytestmark = pytest.mark.anyio

LIMITS = {Scenario.CUT_SHORT: 3, Scenario.ENDLESS_SLOW: 20}
NEVER_ENDING = {Scenario.ENDLESS}
WITH_TOOLS = {Scenario.CALLS}
IMPATIENT = ModelTimeouts(connect_seconds=5, first_token_seconds=1, idle_seconds=1, total_seconds=10)


async def record(folder: Path, times: int = 1) -> None:
    """Ask for every scenario that ends, so often."""
    async with FakeModelServer() as server:
        inner = OpenAICompatibleModel(server.base_url, KEY, IMPATIENT)
        model = RecordingModel(inner, "fake", 4096, Recorder(folder))
        for scenario in [scenario for scenario in Scenario if scenario not in NEVER_ENDING | WITH_TOOLS] * times:
            params = {"max_tokens": LIMITS[scenario]} if scenario in LIMITS else {}
            with suppress(ModelError):  # which is part of the recording
                async for _ in model.stream(request(NAMES[scenario], **params)):
                    pass
        *_, end = [item async for item in model.stream(with_tools(NAMES[Scenario.CALLS]))]
        await collect_reply(Subject(model), with_results(NAMES[Scenario.CALLS], end.tool_calls))
        await model.close()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    asyncio.run(record(folder, times=2))
    return folder


@dataclass
class Subject:
    model: ReplayModel
    secret: str = KEY

    def name_of(self, scenario):
        return recording_name(f"fake/{NAMES[scenario]}")

    def text_of(self, scenario, ordinal=0):
        return reply_text(NAMES[scenario], ordinal)

    def open_calls(self):
        return 0


@pytest.fixture
async def subject(recorded):
    yield Subject(ReplayModel(Recordings(recorded), pace=1))


class TestContract(ChatModelContract):
    """The promises of the port, but for those about waiting for a provider and about its connections."""

    test_waiting_has_an_end = None
    test_a_slow_consumer_is_not_a_silent_model = None
    test_a_reply_without_end_is_given_up = None
    test_closing_the_stream_ends_the_call_at_the_provider = None
    test_cancelling_the_consumer_ends_the_call_at_the_provider = None
    test_a_failed_call_does_not_spoil_the_next = None
    test_calls_at_once_do_not_mix = None

    async def test_calls_at_once_all_have_the_first_reply(self, subject):
        replies = await asyncio.gather(*(collect(subject, Scenario.PLAIN) for _ in range(20)))

        assert {text for text, _ in replies} == {subject.text_of(Scenario.PLAIN)}

    async def test_a_fault_that_a_retry_got_over_does_not_come_back(self, subject):
        text, _ = await collect(subject, Scenario.FAILS_ONCE)

        assert text == subject.text_of(Scenario.FAILS_ONCE, 1)

    async def test_a_time_out_is_recorded_with_its_phase(self, subject):
        _, error = await fail(subject, Scenario.SILENT)

        assert isinstance(error, ModelTimedOut)
        assert error.phase == "first_token"


async def test_no_recording_holds_the_key(recorded):
    files = list(recorded.iterdir())

    assert len(files) == len({name for scenario, name in NAMES.items() if scenario not in NEVER_ENDING})
    assert not any(KEY in file.read_text("utf-8") for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_two_replays_of_one_recording_are_the_same_to_the_delta(recorded, tmp_path):
    copy = shutil.copytree(recorded, tmp_path / "copy")
    asked = request(recording_name(f"fake/{NAMES[Scenario.CUT]}"))

    one, other = [[item async for item in ReplayModel(Recordings(folder)).stream(asked)] for folder in (recorded, copy)]

    assert one == other
    assert len(one) > 5
