"""Schemathesis holds every route of our OpenAPI document against what it really answers.

It runs as a program of its own: its threads, its warnings and its use of Hypothesis are then none of this process's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from anyio import to_thread

from app.domain.discussion import Status

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
CONFIG = HERE / "schemathesis.toml"
STREAMS = {"stream_seconds": 0.3, "stream_heartbeat_seconds": 0.1}
"""Live streams end by themselves before long, so that they are asked for like anything else."""


@pytest.fixture
def place(make_arena):
    return make_arena(with_worker=True, server={"rate_limits": "off", **STREAMS}, auth={"access_token_seconds": 3600})


@pytest.fixture
async def things(person, make_agent, make_base, make_document, make_discussion):
    """One of everything, at the installation that is looked at."""
    agent = await make_agent(by=person)
    base = await make_base(by=person)
    document = await make_document(base=base, by=person)
    discussion = await make_discussion(status=Status.WAITING, agents=[agent], by=person)
    return {
        "agent_id": agent.id,
        "version": "1",
        "base_id": base.id,
        "document_id": document.id,
        "discussion_id": discussion.id,
        "participant_id": discussion.participants[-1]["id"],
    }


@pytest.fixture
def schemathesis(place, person, things, tmp_path):
    """Run it with the person's token, in the role that they have by then."""

    def run(
        *, done_at_least: int, phases: str = "examples,coverage,fuzzing,stateful"
    ) -> "subprocess.CompletedProcess[str]":
        program = str(Path(sys.executable).with_name("schemathesis"))
        return subprocess.run(
            [program, "--config-file", str(CONFIG), "run", f"{place.url}/api/v1/openapi.json", "--phases", phases],
            cwd=tmp_path,
            env={
                **os.environ,
                "ARENA_PROOF_TOKEN": person.access_token,
                "ARENA_PROOF_THINGS": json.dumps(things),
                "ARENA_PROOF_DONE": str(done_at_least),
                "PYTHONPATH": str(HERE.parents[1]),
                "COLUMNS": "150",
            },
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


def report(done: "subprocess.CompletedProcess[str]") -> str:
    return f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"


async def test_what_the_document_says_is_so_for_an_owner(schemathesis):
    done = await to_thread.run_sync(lambda: schemathesis(done_at_least=25))

    assert done.returncode == 0, report(done)


async def test_what_the_document_says_is_so_for_a_viewer(schemathesis, person, sql):
    sql("UPDATE memberships SET role = 'viewer' WHERE user_id = %s", person.id)

    # What is no request at all is refused before anybody asks who sent it, and was tried by the owner.
    done = await to_thread.run_sync(lambda: schemathesis(done_at_least=12, phases="examples,fuzzing,stateful"))

    assert done.returncode == 0, report(done)
