"""Recordings: what is written, by how many, and what happens when it cannot be."""

import asyncio
import multiprocessing
import os
from contextlib import aclosing
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from app.config import ModelSettings
from app.domain.prompt import ChatMessage
from app.services.model import UnknownModel
from app.services.operator_models import OperatorModels
from app.services.providers.base import ChatRequest, ModelError, ModelNotFound, ModelUnavailable
from app.services.providers.recording import PATIENCE_SECONDS, Recorder, recording_name
from app.services.providers.replay import Recordings, ReplayMissing, ReplayModel
from bench.fake_behaviour import reply_text
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789"
ASKED = [ChatMessage("system", "You doubt."), ChatMessage("user", "Go remote?")]


@pytest.fixture
async def catalog(server, tmp_path):
    """Models that are recorded, and replays of them."""
    catalog = OperatorModels(
        ModelSettings(
            openai_base_url=server.base_url,
            openai_api_key=KEY,
            openai_context_tokens=5000,
            record=tmp_path,
            recordings=tmp_path,
        )
    )
    yield catalog
    await catalog.close()


async def listen(model, messages=ASKED, **params):
    text = ""
    async for item in model.client.stream(ChatRequest(model.wire_name, messages, **params)):
        text += getattr(item, "text", "")
    return text


def lines(folder: Path, name: str) -> list[dict]:
    return [orjson.loads(line) for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]


async def test_what_was_recorded_is_played_back_without_the_provider(catalog, server):
    script = "fake?tokens=6&unicode"
    said = await listen(catalog.get(f"openai/{script}"), temperature=1, max_tokens=9)
    replay = catalog.get("replay/openai-fake-tokens-6-unicode")

    assert await listen(replay, temperature=1.0, max_tokens=9) == said == reply_text(script)
    assert (replay.context_tokens, replay.cost_usd(1000, 1000)) == (5000, 0.0)
    assert len(server.requests) == 1


async def test_a_line_holds_the_request_the_deltas_with_their_times_and_the_end(catalog, tmp_path):
    schema = {"type": "object"}
    await listen(catalog.get("openai/fake?tokens=3&delay_ms=60"), max_tokens=9, stop=("END",), response_schema=schema)

    (line,) = lines(tmp_path, "openai-fake-tokens-3-delay_ms-60")
    assert line["model"] == "openai/fake?tokens=3&delay_ms=60"
    assert line["request"] == {
        "messages": [{"role": "system", "content": "You doubt."}, {"role": "user", "content": "Go remote?"}],
        "max_tokens": 9,
        "stop": ["END"],
        "response_schema": schema,
    }
    times = [at for at, _ in line["deltas"]]
    assert times == sorted(times)
    assert times[-1] - times[0] > 60
    assert (line["finish"]["reason"], line["finish"]["completion_tokens"]) == ("stop", 3)


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"seed": 1}, {"max_tokens": 5}, {"stop": ("X",)}])
async def test_another_request_is_missing_and_need_not_be_tried_again(catalog, change):
    await listen(catalog.get("openai/fake"))

    with pytest.raises(ReplayMissing, match="does not hold this request") as caught:
        await listen(catalog.get("replay/openai-fake"), **change)
    assert (caught.value.code, caught.value.retryable) == ("replay_missing", False)


async def test_a_recorded_error_is_raised_again_as_what_it_was(catalog):
    name = "openai/fake?status=503&retry_after=9"
    with pytest.raises(ModelUnavailable):
        await listen(catalog.get(name))

    with pytest.raises(ModelUnavailable, match="answered 503: Scripted failure") as caught:
        await listen(catalog.get(f"replay/{recording_name(name)}"))
    assert caught.value.retry_after_seconds == 9


async def test_a_call_that_its_consumer_ended_is_recorded_and_not_played(catalog, tmp_path):
    model = catalog.get("openai/fake?tokens=9&delay_ms=20")
    async with aclosing(model.client.stream(ChatRequest(model.wire_name, ASKED))) as stream:
        await anext(stream)

    (line,) = lines(tmp_path, recording_name(model.name))
    assert line["deltas"]
    assert not line.keys() & {"finish", "error"}
    with pytest.raises(ReplayMissing):
        await listen(catalog.get(f"replay/{recording_name(model.name)}"))


async def test_no_secret_is_in_a_recording(catalog, server, tmp_path):
    url = server.base_url.replace("//", "//user:url-canary@")
    by_url = OperatorModels(ModelSettings(openai_base_url=url, record=tmp_path))
    for place in (catalog, by_url):
        with pytest.raises(ModelError):
            await listen(place.get("openai/fake?status=401&leak_key"))
        await listen(place.get("openai/fake"))
    await by_url.close()

    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"answered 401" in written
    assert b"canary" not in written


async def test_a_disk_that_fails_is_logged_once_and_fails_no_call(server, tmp_path):
    blocked = tmp_path / "a file where the folder should be"
    blocked.write_text("")
    catalog = OperatorModels(ModelSettings(openai_base_url=server.base_url, record=blocked))

    with capture_logs() as logs:
        for _ in range(3):
            assert await listen(catalog.get("openai/fake"))
        await catalog.close()

    assert [line["event"] for line in logs].count("recording_failed") == 1


async def test_a_disk_that_hangs_holds_a_call_up_no_longer_than_told(catalog, tmp_path):
    pipe = tmp_path / "openai-fake.jsonl"
    os.mkfifo(pipe)  # opening it for writing waits for a reader
    now = asyncio.get_running_loop().time
    started = now()

    assert await listen(catalog.get("openai/fake")) == reply_text("fake")

    assert now() - started < PATIENCE_SECONDS + 2
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # lets the thread go
    await eventually(lambda: _readable(reader), 5, "the line")
    os.close(reader)


def _readable(pipe: int) -> bytes | None:
    try:
        return os.read(pipe, 1024)
    except BlockingIOError:
        return None


def _append_many(folder: str, process: int) -> None:
    recorder = Recorder(Path(folder))
    for number in range(200):
        recorder._append("shared", {"process": process, "number": number, "padding": "x" * 20_000})


async def test_processes_that_record_into_one_file_do_not_mix_their_lines(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(str(tmp_path), number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, 60)

    seen = [(line["process"], line["number"]) for line in lines(tmp_path, "shared")]
    assert sorted(seen) == [(process, number) for process in range(3) for number in range(200)]


async def test_a_recording_and_its_folder_are_for_their_owner_only(tmp_path):
    await Recorder(tmp_path / "new").append("one", {})

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "one.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_recording_that_is_a_link_is_not_written_through(tmp_path):
    target = tmp_path / "elsewhere"
    (tmp_path / "linked.jsonl").symlink_to(target)

    await Recorder(tmp_path).append("linked", {})

    assert not target.exists()


@pytest.mark.parametrize("name", ["nothing", "../secret", "..", ".hidden", "a/b", "", "a\n", "a\0b", "x" * 5000])
async def test_an_unknown_recording_and_what_is_no_name_of_one_are_unknown_models(catalog, tmp_path, name):
    for place in (tmp_path.parent / "secret.jsonl", tmp_path / ".hidden.jsonl"):
        place.write_text("{}")

    with pytest.raises(UnknownModel, match="ARENA_RECORD makes recordings") as caught:
        catalog.get(f"replay/{name}")
    assert caught.value.code == "unknown_model"


async def test_a_recording_that_went_away_is_not_found(tmp_path):
    with pytest.raises(ModelNotFound):
        async for _ in ReplayModel(Recordings(tmp_path)).stream(ChatRequest("gone", ASKED)):
            pass


async def test_lines_that_cannot_be_read_are_passed_over(catalog, tmp_path):
    await listen(catalog.get("openai/fake"))
    path = tmp_path / "openai-fake.jsonl"
    path.write_bytes(b'{"context_tokens": 5000}\n{"request": [], "deltas": 3}\nhalf a li\n[]\n' + path.read_bytes())

    assert await listen(catalog.get("replay/openai-fake")) == reply_text("fake")


async def test_what_is_recorded_later_is_found_without_a_restart(catalog):
    await listen(catalog.get("openai/fake"))
    await listen(catalog.get("replay/openai-fake"))
    other = [ChatMessage("user", "Go home?")]
    said = await listen(catalog.get("openai/fake"), other)

    assert await listen(catalog.get("replay/openai-fake"), other) == said


async def test_a_replay_can_take_the_time_that_was_recorded(catalog, tmp_path):
    now = asyncio.get_running_loop().time
    name = "openai/fake?tokens=5&delay_ms=300"
    await listen(catalog.get(name))

    took = []
    for pace in (1, 0):
        model = ReplayModel(Recordings(tmp_path), pace)
        started = now()
        async for _ in model.stream(ChatRequest(recording_name(name), ASKED)):
            pass
        took.append(now() - started)

    assert took[0] > 1
    assert took[1] < 0.9
