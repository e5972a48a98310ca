"""`arena demo` and `arena discuss` as a user runs them, on engines of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SECONDS = 180
SHORT = ("--max-tokens", "12")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach, as pytest's are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="arena-demo-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


class Run:
    """A command of ours while it runs; what it prints is read as it comes."""

    def __init__(self, *arguments: str, data_dir: Path, **variables: str) -> None:
        command = [sys.executable, "-m", "app.cli", *arguments]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARENA_")}
        environment = {**inherited, "ARENA_DATA_DIR": str(data_dir), **variables}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.output = b""
        self.family: set[psutil.Process] = set()

    def read_until(self, mark: bytes) -> None:
        deadline = time.monotonic() + SECONDS
        while mark not in self.output:
            piece = os.read(self.process.stdout.fileno(), 4096)
            assert piece, (self.output, self.process.stderr.read())
            assert time.monotonic() < deadline, self.output
            self.output += piece
        self.family |= set(psutil.Process(self.process.pid).children(recursive=True))

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, (self.output + output).decode(), errors.decode()

    def survivors(self) -> list[psutil.Process]:
        """Children that were seen and still are there, zombies aside, which only wait for init to notice."""
        return [one for one in self.family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def transcript_in(output: str) -> Path:
    return Path(re.search(r"^Transcript: (.+\.md)$", output, re.MULTILINE)[1])


def test_the_demo_shows_a_discussion_and_runs_again_on_the_same_data(data_dir):
    first = Run("demo", "--turns", "2", *SHORT, data_dir=data_dir)
    first.read_until(b"[1/2]")
    code, output, errors = first.end()

    assert (code, errors) == (0, "")
    assert not first.survivors()
    assert re.search(r"\[1/2\] Optimist \(@optimist\):\n\S", output)
    assert re.search(r"\[2/2\] Skeptic \(@skeptic\):\n\S", output)
    assert re.search(r"\(\d+ tokens, [\d.]+ tokens/s\)", output)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", output)
    transcript = transcript_in(output)
    assert transcript.parent == data_dir / "demo" / "transcripts"
    text = transcript.read_text()
    assert re.findall(r"^## (\w+) .*turn (\d)$", text, re.MULTILINE) == [("Optimist", "1"), ("Skeptic", "2")]
    assert "**Status:** ended (max_turns)" in text
    login = data_dir / "demo" / "demo-login.json"
    assert login.stat().st_mode & 0o777 == 0o600

    again = Run("demo", "--turns", "1", *SHORT, data_dir=data_dir)
    code, output, errors = again.end()

    assert (code, errors) == (0, "")
    assert transcript_in(output) != transcript
    assert sorted(path.name for path in data_dir.iterdir()) == ["demo"]


def test_ctrl_c_while_an_agent_speaks_ends_everything_in_order_and_the_next_run_works(data_dir):
    run = Run("demo", "--turns", "6", "--max-tokens", "200", data_dir=data_dir)
    run.read_until(b"[1/6] Optimist (@optimist):\n")
    second = Run("demo", data_dir=data_dir)
    code, _output, errors = second.end()
    assert code == 1
    assert re.fullmatch(r"arena: another `arena demo` \(pid \d+\) already uses \S+/demo\n", errors)

    run.interrupt()
    began = time.monotonic()
    code, _output, errors = run.end()

    assert code == 130
    assert re.fullmatch(r"arena: interrupted; everything is stopped(; what was said so far is in \S+)?\n", errors)
    assert time.monotonic() - began < 15
    assert len(run.family) >= 5
    assert not run.survivors()

    code, output, errors = Run("demo", "--turns", "1", *SHORT, data_dir=data_dir).end()
    assert (code, errors) == (0, "")
    assert transcript_in(output).exists()


@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.4, 2.5])
def test_ctrl_c_while_everything_starts_leaves_nothing_behind(data_dir, seconds):
    run = Run("demo", "--turns", "1", *SHORT, data_dir=data_dir)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run.family |= set(psutil.Process(run.process.pid).children(recursive=True))
        time.sleep(0.01)

    run.interrupt()
    code, _output, errors = run.end()

    assert code in {130, -signal.SIGINT}  # the latter before the interpreter has come to us
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 1
    deadline = time.monotonic() + 5
    while run.survivors() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not run.survivors()


def test_the_recorded_demo_says_what_was_recorded_without_a_model(data_dir):
    recording = Path(__file__).parents[3] / "examples" / "recordings" / "demo.jsonl"
    exchanges = [json.loads(line) for line in recording.read_text().splitlines()]
    spoken = ["".join(text for _, text in exchange["deltas"]).strip() for exchange in exchanges]

    run = Run("demo", "--recorded", data_dir=data_dir, ARENA_REPLAY_PACE="0")
    run.read_until(b"[1/6]")
    code, output, errors = run.end()

    assert (code, errors) == (0, ""), "after a change of the agents' prompts, run `make demo-recording`"
    assert "language model" not in output
    assert not (data_dir / "demo" / "logs" / "local_model.log").exists()
    assert len(spoken) == 6
    assert all(text in output for text in spoken)


@pytest.mark.parametrize("option", [("--turns", "7"), ("--topic", "Why?"), ("--seed", "1"), ("--max-tokens", "9")])
def test_the_recorded_demo_refuses_what_is_not_recorded(data_dir, option):
    code, _output, errors = Run("demo", "--recorded", *option, data_dir=data_dir).end()

    assert code == 1
    assert "only the memo, in 6 turns or fewer, is recorded" in errors
