"""The toolbox: whatever a tool or a model does, a bounded result comes of it in bounded time."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from app.config import Settings, ToolSettings
from app.domain.documents import Passage
from app.domain.prompt import ToolCall
from app.services.providers.base import ToolSpec
from app.services.tools.arguments import faults_by
from app.services.tools.base import Found, ToolFailed
from app.services.tools.calculator import Calculator
from app.services.tools.clock import CurrentTime
from app.services.tools.knowledge_search import KnowledgeSearchTool, numbering
from app.services.tools.toolbox import Toolbox, Toolboxes

pytestmark = pytest.mark.anyio

SETTINGS = ToolSettings(tool_seconds=0.2, tool_result_bytes=256)


class Acting:
    """A tool that does what the test says."""

    name = "server/acting"
    spec = ToolSpec(
        "server__acting", "Acts.", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    )
    faults = staticmethod(faults_by(spec.parameters))

    def __init__(self, act):
        self._act = act

    async def call(self, arguments):
        return await self._act(arguments)


async def result_of(act, arguments='{"n": 1}', name="server__acting"):
    return await Toolbox([Acting(act)], SETTINGS).call(ToolCall("c1", name, arguments))


async def say(arguments):
    return Found(f"n is {arguments['n']}")


async def test_a_call_gives_what_the_tool_found_and_how_long_it_took():
    async def slowly(arguments):
        await asyncio.sleep(0.02)
        return await say(arguments)

    result = await result_of(slowly)

    assert (result.text, result.is_error) == ("n is 1", False)
    assert 15 <= result.duration_ms < 200


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        *(("", "do not fit"), ("{", "no JSON"), ("[1]", "a JSON object"), ('{"n": "x"}', "n: "), ("null", "object")),
        *(("{}", '"n" is a required property'), ('{"n": NaN}', "no JSON"), ("[" * 5_000, "no JSON")),
        *(('{"n": 1, "s": "\\ud800"}', "no JSON"), ('"' + "x" * 70_000 + '"', "too long")),
    ],
)
async def test_arguments_that_do_not_fit_are_told_and_reach_no_tool(arguments, told):
    async def never(_):
        raise AssertionError("reached")

    result = await result_of(never, arguments)

    assert result.is_error
    assert told in result.text


async def test_a_tool_that_the_agent_lacks_is_not_called():
    result = await result_of(say, name="http_get")

    assert (result.is_error, "there is no tool 'http_get'" in result.text) == (True, True)


async def test_a_tool_that_hangs_is_given_up():
    result = await result_of(lambda _: asyncio.sleep(30))

    assert (result.is_error, result.text) == (True, "the tool did not answer within 0.2 s")


async def test_a_tool_that_fails_says_why_and_one_that_crashes_says_nothing_of_its_inside(caplog):
    async def fail(_):
        raise ToolFailed("no such place")

    async def crash(_):
        raise RuntimeError("password=hunter2")

    failed, crashed = await result_of(fail), await result_of(crash)

    assert (failed.is_error, failed.text) == (True, "no such place")
    assert (crashed.is_error, "hunter2" in crashed.text) == (True, False)


async def test_a_cancelled_turn_ends_its_call():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(_):
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    toolbox = Toolbox([Acting(wait)], ToolSettings(tool_seconds=30))
    task = asyncio.ensure_future(toolbox.call(ToolCall("c1", "server__acting", '{"n": 1}')))
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 5_000, "\ud800\x00" * 300])
async def test_a_result_is_cut_to_its_bound_and_says_so(text):
    async def flood(_):
        return Found(text)

    result = await result_of(flood)

    assert len(result.text.encode()) <= 256
    assert "[cut: the result has" in result.text
    assert "\x00" not in result.text


async def test_tools_are_offered_in_the_agents_order_and_named_as_it_names_them():
    toolbox = Toolbox([Acting(say), Calculator()], SETTINGS)

    assert [spec.name for spec in toolbox.specs] == ["server__acting", "calculator"]
    assert [toolbox.title_of(name) for name in ("server__acting", "calculator", "other")] == [
        *("server/acting", "calculator", "other")
    ]
    assert (await toolbox.call(ToolCall("c", "calculator", '{"expression": "6*7"}'))).text == "42"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "Sunday, 2026-11-29T23:30:00+0000 (UTC)"),
        ({"time_zone": "Europe/Berlin"}, "Monday, 2026-11-30T00:30:00+0100 (Europe/Berlin)"),
    ],
)
async def test_the_time_is_told_in_any_zone(arguments, told):
    clock = CurrentTime(lambda: datetime(2026, 11, 29, 23, 30, tzinfo=UTC))

    assert (await clock.call(arguments)).text == told


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "/etc/passwd", "America", "\x00", "x" * 5_000])
async def test_a_zone_that_is_none_is_told(name):
    with pytest.raises(ToolFailed, match="no time zone"):
        await CurrentTime().call({"time_zone": name})


def passage(text="Text.", **changes):
    given = {"chunk_id": uuid4(), "document_id": uuid4(), "base_id": uuid4(), "title": "Memo", "text": text}
    return Passage(**{**given, "span": (0, 5), "page": 3, "heading": "Results", "score": 1.0, **changes})


async def test_a_search_looks_where_the_agent_may_and_numbers_what_it_finds():
    asked, workspace, base, document = [], uuid4(), uuid4(), uuid4()
    first, second, third = passage("One."), passage("Two.", page=None, heading=None), passage("Three.")
    answers = [[first, second], [second, third], []]

    async def search(*where):
        asked.append(where)
        return answers.pop(0)

    tool = KnowledgeSearchTool(search, workspace, [base], [document], numbering())
    toolbox = Toolbox([tool], ToolSettings())
    calls = [{"query": "q"}, {"query": "r", "k": 2}, {"query": "s"}, {"query": "t", "base_ids": [str(uuid4())]}]
    results = [await toolbox.call(ToolCall("c", "knowledge_search", json.dumps(call))) for call in calls]

    assert results[0].text == "[1] Memo, Results, page 3\nOne.\n\n[2] Memo\nTwo."
    assert list(results[0].passages) == [first, second]
    assert results[1].text.startswith("[2] Memo\nTwo.\n\n[3] ")
    assert (results[2].is_error, results[3].is_error) == (False, True)
    assert asked == [(workspace, query, (base,), (document,), k) for query, k in (("q", 5), ("r", 2), ("s", 5))]


@pytest.mark.parametrize(
    ("names", "where", "http_get", "offered"),
    [
        (["current_time", "calculator", "calculator"], {}, "off", ["current_time", "calculator"]),
        (["knowledge_search", "http_get", "other"], {}, "off", []),
        (["http_get", "knowledge_search"], {"base_ids": [uuid4()]}, "on", ["http_get", "knowledge_search"]),
        (["knowledge_search"], {"document_ids": [uuid4()]}, "on", ["knowledge_search"]),
        ([], {"document_ids": [uuid4()]}, "on", []),
    ],
)
async def test_a_turn_is_offered_the_tools_of_its_agent_that_there_are(tmp_path, names, where, http_get, offered):
    async def search(*_):
        return []

    settings = Settings(data_dir=tmp_path, tools=ToolSettings(tool_http_get=http_get))
    toolboxes = Toolboxes(settings, None, None, None, search)  # of no servers, nothing is asked for
    async with toolboxes.open(uuid4(), names, **{"base_ids": [], "document_ids": [], **where}) as toolbox:
        assert [spec.name for spec in toolbox.specs] == offered
    await toolboxes.close()


def test_a_schema_that_could_take_for_ever_is_none():
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)}
    with pytest.raises(ValueError, match="too often"):
        faults_by({"$defs": {**twice, "a30": {}}, "$ref": "#/$defs/a0"})
