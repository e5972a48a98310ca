"""The product as one command runs it: the three flows over HTTP with the local model, and a clean end.

How it is started, watched, restarted and refused is shown in `integration/test_serve.py`.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.factories.agents import agent_body
from tests.factories.discussions import discussion_body
from tests.fixtures.people import log_in
from tests.fixtures.viewer import watch_to_the_end

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("local model")]

LOCAL = {"model": "local/smollm2-135m", "params": {"max_tokens": 12, "temperature": 0.0, "seed": 1}}
MODEL_SECONDS = 120


@dataclass
class Served:
    """A running `arena serve`, and the login that it printed."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    url: str
    email: str
    password: str

    @asynccontextmanager
    async def as_administrator(self):
        """A client with the printed login."""
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False, verify=False, timeout=30) as http:
            tokens = await log_in(http, self.email, self.password)
            http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            yield http


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Started once for this module: it brings PostgreSQL, Valkey, a model, the API and a worker."""
    folder = Path(tempfile.mkdtemp(prefix="arena-test-"))
    folder.chmod(0o755)
    environment = {**os.environ, "ARENA_DATA_DIR": str(folder / "data")}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    said = ""
    while "╯" not in said:
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        said += line
    url, email, password = (re.search(rf"{row}\s+(\S+)", said)[1] for row in ("URL", "Administrator", "Password"))
    yield Served(process, environment, url, email, password)
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)


async def test_the_login_that_was_printed_is_the_administrators(served):
    async with served.as_administrator() as http:
        me = (await http.get("/api/v1/auth/me")).json()

    assert (me["email"], me["is_superuser"]) == (served.email, True)


async def test_the_three_flows_over_http_with_the_local_model(served):
    async with served.as_administrator() as http:
        me = (await http.get("/api/v1/auth/me")).json()
        agents = [await http.post("/api/v1/agents", json=agent_body(name, **LOCAL)) for name in ("Skeptic", "Optimist")]
        base = (await http.post("/api/v1/knowledge/bases", json={"name": "Memos"})).json()
        document = await http.post(
            f"/api/v1/knowledge/bases/{base['id']}/documents", json={"title": "Memo", "text": "We spend 40% on rent."}
        )
        participants = [{"user_id": me["id"]}, *({"agent_id": agent.json()["id"]} for agent in agents)]
        body = discussion_body(participants=participants, document_ids=[document.json()["id"]], limits={"max_turns": 3})
        opened = await http.post("/api/v1/discussions", json=body)
        address = opened.headers["Location"]
        posted = await http.post(f"{address}/messages", json={"content": "What should we do about the rent?"})
        viewer = await watch_to_the_end(http, opened.json()["id"], MODEL_SECONDS)
        transcript = await http.get(f"{address}/transcript", params={"format": "md"})

    assert [agent.status_code for agent in agents] == [201, 201]
    assert (opened.status_code, opened.json()["status"], posted.status_code) == (201, "waiting", 201)
    spoken = list(viewer.checker.messages.values())
    assert [(message["turn"], message["handle"]) for message in spoken] == [
        (1, me["display_name"].lower()),
        (2, "skeptic"),
        (3, "optimist"),
    ]
    assert all(message["usage"]["completion_tokens"] > 0 for message in spoken[1:])
    assert all(message["content"].strip() in transcript.text for message in spoken)


async def test_a_second_one_on_the_same_folder_says_so_and_ends(served):
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    second = await asyncio.to_thread(
        subprocess.run, command, env=served.environment, capture_output=True, text=True, timeout=30, check=False
    )

    assert second.returncode == 1
    [sentence] = second.stderr.strip().splitlines()
    assert f"(pid {served.process.pid}) already uses" in sentence


async def test_sigterm_ends_everything(served):
    """The last of this module: nothing is left of it, nor of what it started."""
    family = psutil.Process(served.process.pid).children(recursive=True)
    assert len(family) > 4

    served.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(served.process.wait, 30)

    assert code == 0
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 5)
    assert alive == []
