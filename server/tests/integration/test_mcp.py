"""Tools of MCP servers, against the SDK's own server and against servers that misbehave."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from app.config import OutgoingSettings, Settings, ToolSettings
from app.core.address_guard import AddressGuard
from app.core.ids import new_id
from app.core.public_addresses import Allowance
from app.core.sealing import Sealer
from app.domain.prompt import ToolCall
from app.engines.ports import free_port
from app.models import ToolServer, Workspace
from app.models.sealed import TOOL_SERVER_TOKENS
from app.services.tools.addresses import Address
from app.services.tools.listings import MOST_SCHEMA_BYTES, MOST_TOOLS, offers_of, wire_name
from app.services.tools.toolbox import Toolboxes
from tests.factories.tool_servers import TOKEN
from tests.fixtures import mcp_server, plain_mcp_server
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.deadlines import eventually
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer, Stream

pytestmark = pytest.mark.anyio

REAL = [sys.executable, "-P", str(Path(mcp_server.__file__).resolve())]
PROGRAM = [sys.executable, "-P", str(Path(plain_mcp_server.__file__).resolve())]
NO_SERVERS = [["/bin/sleep", "60"], ["/bin/echo", "no-json"], ["/bin/cat", "/dev/zero"], ["/nowhere/program"]]
ALLOWED = ", ".join(" ".join(command) for command in (REAL, PROGRAM, *NO_SERVERS))
NAMES = ["add", "slow", "big", "boom", "credentials", "dotted.name/with more", "trap"]


@pytest.fixture(scope="module")
def real_url():
    """The SDK's server over HTTP."""
    port = free_port()
    with subprocess.Popen([*REAL, str(port)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not _listens(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(autouse=True)
def time_to_start(monkeypatch):
    """A program of the SDK takes its seconds to start where others keep the machine busy."""
    monkeypatch.setattr("app.services.tools.toolbox.LISTING_SECONDS", 30)
    monkeypatch.setattr("app.services.tools.servers.LIST_SECONDS", 30)


@pytest.fixture
def scripted():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def workspace(uow):
    made = Workspace(id=new_id(), name="x")
    async with uow() as work:
        work._session.add(made)
    return made.id


@pytest.fixture
def add_server(uow, workspace):
    """Write a server down; its address over HTTP, or its command."""

    async def add(where, name="tests", token=TOKEN):
        server = ToolServer(id=new_id(), workspace_id=workspace, name=name, transport="http")
        if isinstance(where, str):
            server.url = where
            server.token_sealed = Sealer([SECRET_KEY]).seal(token.encode(), TOOL_SERVER_TOKENS.place(server.id))
        else:
            server.transport, server.command = "stdio", where
        async with uow(workspace) as work:
            await work.tool_servers.save(server)
        return server

    return add


@pytest.fixture
async def opened(uow, workspace, tmp_path):
    """Open a toolbox with all tools of the server `tests`, or those that are named."""
    made = []

    async def nothing(*_):
        return []

    @asynccontextmanager
    async def opening(names=("tests/*",), seconds=10, allow="127.0.0.1", commands=ALLOWED, of=None):
        settings = Settings(
            data_dir=tmp_path,
            tools=ToolSettings(tool_seconds=seconds, mcp_commands=commands),
            outgoing=OutgoingSettings(outgoing_allow=allow),
        )
        guard = AddressGuard(Allowance.parse(allow))
        toolboxes = Toolboxes(settings, uow, Sealer([SECRET_KEY]), guard, nothing)
        made.append((toolboxes, guard))
        async with toolboxes.open(of or workspace, names, [], []) as toolbox:
            yield toolbox

    yield opening
    for toolboxes, guard in made:
        await toolboxes.close()
        await guard.close()


async def call(toolbox, name, arguments="{}"):
    return await toolbox.call(ToolCall("c1", name, arguments))


@pytest.fixture(params=["http", "stdio"])
async def a_real_server(request, add_server, real_url):
    await add_server(real_url if request.param == "http" else REAL)


async def test_its_tools_are_offered_under_names_that_models_can_say_and_called(a_real_server, opened):
    async with opened() as toolbox:
        spec = next(spec for spec in toolbox.specs if spec.name == "tests__add")
        added = await call(toolbox, "tests__add", '{"a": 2, "b": 3}')
        [dotted] = [spec.name for spec in toolbox.specs if toolbox.title_of(spec.name) == f"tests/{NAMES[5]}"]
        reached = await call(toolbox, dotted)
        misfit = await call(toolbox, "tests__add", '{"a": "two"}')
        failed = await call(toolbox, "tests__boom")
        long = await call(toolbox, "tests__big", '{"count": 500000}')
        too_long = await call(toolbox, "tests__big", '{"count": 4000000}')
        again = await call(toolbox, "tests__add", '{"a": 1, "b": 1}')

        assert [toolbox.title_of(spec.name) for spec in toolbox.specs] == [f"tests/{name}" for name in NAMES]
        assert spec.description == "Add two numbers."
        assert spec.parameters["required"] == ["a", "b"]
    assert (added.text, added.is_error) == ("5", False)
    assert (reached.text, reached.is_error) == ("reached", False)
    assert (misfit.is_error, "do not fit" in misfit.text) == (True, True)
    assert (failed.is_error, "boom" in failed.text) == (True, True)
    assert (long.is_error, "[cut: the result has 500000 bytes" in long.text) == (False, True)
    assert again.text == "2", "although the session broke"
    assert (too_long.is_error, too_long.text) == (True, "the tool server tests says more than is taken")


@pytest.fixture
async def at_real_url(add_server, real_url):
    await add_server(real_url)


async def test_a_call_that_takes_too_long_is_given_up_and_the_session_goes_on(at_real_url, opened):
    async with opened(seconds=1) as toolbox:
        assert (await call(toolbox, "tests__add", '{"a": 1, "b": 1}')).text == "2"
        began = time.monotonic()
        slow = await call(toolbox, "tests__slow", '{"seconds": 60}')
        took = time.monotonic() - began

        assert (slow.is_error, slow.text) == (True, "the tool did not answer within 1 s")
        assert took < 4
        assert (await call(toolbox, "tests__add", '{"a": 1, "b": 1}')).text == "2"


async def test_an_answer_is_not_held_against_the_patterns_of_its_server(at_real_url, opened):
    async with opened() as toolbox:
        result = await call(toolbox, "tests__trap")

    assert (result.is_error, "aaaa" in result.text) == (False, True)


async def test_the_token_is_sent_and_in_nothing_that_a_model_is_told(at_real_url, opened):
    async with opened(names=["tests/credentials"]) as toolbox:
        result = await call(toolbox, "tests__credentials")

    assert (result.is_error, result.text) == (False, "Bearer [token]")


async def test_only_the_tools_that_are_named_are_offered(add_server, opened):
    await add_server(PROGRAM)
    async with opened(["tests/slow", "tests/environment", "tests/none", "other/*", "calculator"]) as toolbox:
        assert [spec.name for spec in toolbox.specs] == ["tests__slow", "tests__environment", "calculator"]


async def test_servers_of_another_workspace_are_not_there(add_server, opened):
    await add_server(PROGRAM)
    async with opened(of=uuid4()) as toolbox:
        assert toolbox.specs == []


async def test_a_program_has_nothing_of_ours_and_leaves_nothing_behind(add_server, opened, monkeypatch):
    monkeypatch.setenv("ARENA_SECRET_KEY", "not for programs, though they are allowed")
    await add_server(PROGRAM)
    async with opened() as toolbox:
        *variables, folder = (await call(toolbox, "tests__environment")).text.split()
        child = int((await call(toolbox, "tests__leave_child")).text)
        assert Path(folder).is_dir()

    assert set(variables) <= {"HOME", "LANG", "LC_CTYPE", "PATH", "TMPDIR"}
    await eventually(lambda: not Path(folder).exists() and _is_gone(child), 10, "the end of the program")


def _is_gone(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    # Nobody may have looked after an orphan that has ended.
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("command", NO_SERVERS)
async def test_a_program_that_is_no_server_costs_its_tools_and_nothing_else(add_server, opened, monkeypatch, command):
    monkeypatch.setattr("app.services.tools.servers.LIST_SECONDS", 2)
    await add_server(command)
    began = time.monotonic()
    async with opened(names=["tests/*", "calculator"]) as toolbox:
        assert [spec.name for spec in toolbox.specs] == ["calculator"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("commands", [None, PROGRAM[0], f"{' '.join(PROGRAM)} --more", "/bin/sleep 60"])
async def test_a_program_that_is_no_longer_allowed_is_not_run(add_server, opened, commands):
    await add_server(PROGRAM)
    async with opened(commands=commands) as toolbox:
        assert toolbox.specs == []


MISBEHAVIOUR = {
    "silence": Stream([], "hold"),
    "cut": Stream([b": hello\n\n"], "cut"),
    "garbage": Reply(b"<html>", 200, {"Content-Type": "text/html"}),
    "no JSON": Reply(b"{", 200),
    "another protocol": Reply({"jsonrpc": "1.0", "id": 1, "result": []}),
    "flood": Reply(b"[" + b" " * 5_000_000 + b"]"),
    "endless event": Stream([b"data: " + b"x" * 500_000] * 12, "hold"),
    "refusal": Reply({"error": "go away"}, 401),
    "failure": Reply(b"", 500),
    "redirect to a private address": Reply(b"", 307, {"Location": "http://127.0.0.2:1/mcp"}),
    "redirect to itself": Reply(b"", 307, {"Location": f"{PREFIX}/mcp"}),
    "compressed": Reply(b"x", 200, {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
async def test_a_server_that_misbehaves_costs_its_tools_and_nothing_else(
    add_server, opened, scripted, monkeypatch, kind
):
    monkeypatch.setattr("app.services.tools.servers.LIST_SECONDS", 2)
    scripted.only("POST", "/mcp", MISBEHAVIOUR[kind])
    await add_server(f"{scripted.url}{PREFIX}/mcp")
    began = time.monotonic()
    async with opened(names=["tests/*", "calculator"]) as toolbox:
        assert [spec.name for spec in toolbox.specs] == ["calculator"]
        assert (await call(toolbox, "tests__add")).is_error

    assert time.monotonic() - began < 5
    assert len(scripted.asked) <= 50


async def test_a_private_address_is_not_reached(add_server, opened, scripted):
    await add_server(f"{scripted.url}{PREFIX}/mcp")
    async with opened(allow=None) as toolbox:
        assert toolbox.specs == []

    assert scripted.asked == []


async def test_a_server_that_is_away_is_asked_once_by_many_turns_and_a_changed_one_anew(
    add_server, uow, workspace, tmp_path, scripted
):
    server = await add_server(f"{scripted.url}{PREFIX}/mcp")
    guard = AddressGuard(Allowance.parse("127.0.0.1"))
    settings = Settings(data_dir=tmp_path)
    toolboxes = Toolboxes(settings, uow, Sealer([SECRET_KEY]), guard, None)

    async def turn():
        async with toolboxes.open(workspace, ["tests/*"], [], []) as toolbox:
            return len(toolbox.specs)

    assert await asyncio.gather(*(turn() for _ in range(5))) == [0] * 5
    once = len(scripted.asked)
    assert await turn() == 0
    assert (once > 0, len(scripted.asked)) == (True, once)
    async with uow(workspace) as work:
        (await work.tool_servers.get(server.id)).name = "tests"
        (await work.tool_servers.get(server.id)).updated_at = datetime.now(UTC)
    assert await turn() == 0
    assert len(scripted.asked) == 2 * once
    await toolboxes.close()
    await guard.close()


async def test_a_cancelled_turn_ends_its_call_and_its_program(add_server, opened):
    await add_server(PROGRAM)
    folder = []

    async def turn():
        async with opened(seconds=30) as toolbox:
            folder.append(Path((await call(toolbox, "tests__environment")).text.split()[-1]))
            await call(toolbox, "tests__slow")

    task = asyncio.create_task(turn())
    await eventually(lambda: bool(folder), 20, "the first call")
    await asyncio.sleep(0.2)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1
    await eventually(lambda: not folder[0].exists(), 10, "the end of the program")


def test_names_for_models_are_short_plain_and_different():
    named = [("a", "b"), ("a", "b.c"), ("a", "b c"), ("a", "b_c"), ("a", "x" * 100), ("a", "x" * 101), ("a-b", "c")]
    names = [wire_name(server, tool) for server, tool in [*named, ("s" * 32, "ü" * 128), ("a", "_b"), ("a", "__b")]]

    assert names[0] == "a__b"
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 and name.replace("-", "_").isidentifier() for name in names)


def test_tools_that_models_cannot_be_told_of_are_left_out():
    good, secret = {"type": "object"}, 'a token with "quotes" in it'
    deep = {"type": "object", "properties": {"x": {"enum": ["y" * MOST_SCHEMA_BYTES]}}}
    listed = [
        *[
            ("ok", f"{secret}{'x' * 5_000}", good),
            ("ok", "again", good),
            ("*", "", good),
            ("", "", good),
            ("n" * 129, "", good),
        ],
        *[
            ("a\nb", "", good),
            ("large", "", deep),
            ("none", "", {"type": "nothing"}),
            ("far", "", {"$ref": "http://x/"}),
        ],
        *[("array", "", {"type": "array"}), ("number", "", {**good, "const": 10**30}), (f"a {secret}", "", good)],
        ("echo", "", {**good, "description": f"Send {secret}."}),
        *[(f"t{number}", "", good) for number in range(200)],
    ]
    offers = offers_of(Address(uuid4(), datetime.now(UTC), "tests", token=secret), listed)

    assert [offer.tool for offer in offers[:2]] == ["ok", "t0"]
    assert len(offers) == MOST_TOOLS
    assert (offers[0].spec.description[:9], len(offers[0].spec.description)) == ("[token]xx", 1_000)
