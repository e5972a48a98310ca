"""`arena serve` and `arena doctor` as a user runs them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

START_SECONDS = 60
NOTHING_LISTENS = "postgresql://arena:hunter2secret@127.0.0.1:1/arena"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach, as pytest's are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="arena-test-"))
    folder.chmod(0o711)
    yield folder / "data"
    shutil.rmtree(folder)


class Serve:
    """A running `arena serve`, read until it says that it is ready."""

    def __init__(self, data_dir: Path) -> None:
        self.log = data_dir.parent / "stderr"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                arena("serve", "--port", "0"), env=environment(data_dir), stdout=subprocess.PIPE, stderr=log
            )
        self.said = ""
        while "╯" not in self.said:
            line = self.process.stdout.readline().decode()
            assert line, self.log.read_text()
            self.said += line
        self.url = re.search(r"http://\S+", self.said)[0]

    def children(self) -> dict[str, psutil.Process]:
        """The living by their arguments; one that has just ended may wait as a zombie to be noticed."""
        named = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # a zombie included
                named[" ".join(child.cmdline()[1:]) or child.name()] = child
        return named

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


def arena(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", *arguments]


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARENA_")}
    return {**inherited, "ARENA_DATA_DIR": str(data_dir), "COLUMNS": "160", **settings}


def run(*arguments: str, data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = arena(*arguments)
    return subprocess.run(
        command, env=environment(data_dir, **settings), capture_output=True, text=True, timeout=60, check=False
    )


def eventually(true, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)


def test_everything_starts_is_kept_running_and_ends_together(data_dir):
    serve = Serve(data_dir)
    try:
        assert re.search(r"Administrator +\S+@\S+", serve.said)
        assert re.search(r"Password +\S{20,}", serve.said)
        get(f"{serve.url}/readyz")
        children = serve.children()
        assert len(children) == 5
        started = set(children.values())

        second = run("serve", "--port", "0", data_dir=data_dir)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"arena: another `arena serve` (pid {serve.process.pid}) already uses {data_dir}\n" == second.stderr

        report = run("doctor", data_dir=data_dir, ARENA_LOCAL_MODEL="off")
        assert report.returncode == 0, report.stdout
        assert report.stdout.count("embedded, running") == 2
        assert "the newest" in report.stdout

        killed = {children["-m app.cli api"], children["-m app.cli worker"]}
        for child in killed:
            child.kill()
        eventually(lambda: len(set(serve.children().values()) - killed) == 5)
        started |= set(serve.children().values())
        eventually(lambda: answers(f"{serve.url}/readyz"))
    finally:
        code = serve.stop(signal.SIGTERM)
    assert code == 0
    assert not any(child.is_running() for child in started)

    again = Serve(data_dir)
    assert again.stop(signal.SIGINT) == 0
    assert "Password" not in again.said


def answers(url: str) -> bool:
    try:
        return bool(get(url))
    except OSError:
        return False


def test_a_port_in_use_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refused = run("serve", "--port", str(port), data_dir=tmp_path / "data")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert re.fullmatch(rf"arena: cannot listen on port {port} of 127\.0\.0\.1: .*--port.*\n", refused.stderr)
    assert not (tmp_path / "data").exists()


def test_a_database_that_does_not_answer_is_one_sentence_without_its_password(tmp_path):
    refused = run("serve", "--port", "0", data_dir=tmp_path / "data", ARENA_DATABASE_URL=NOTHING_LISTENS)

    assert (refused.returncode, refused.stdout) == (1, "")
    sentences = [line for line in refused.stderr.splitlines() if line.startswith("arena: ")]
    assert len(sentences) == 1 and "127.0.0.1:1/arena (ARENA_DATABASE_URL) does not answer" in sentences[0]
    assert "hunter2secret" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_in_the_data_folders_place_is_one_sentence(tmp_path):
    (tmp_path / "data").write_text("mine")

    refused = run("serve", "--port", "0", data_dir=tmp_path / "data")

    assert refused.returncode == 1
    assert re.fullmatch(r"arena: the data folder .* is not a folder\n", refused.stderr)


def test_another_secret_key_than_before_is_one_sentence(data_dir):
    assert Serve(data_dir).stop(signal.SIGTERM) == 0
    (data_dir / "secret.key").write_text("another secret key of more than 32 letters")

    refused = run("serve", "--port", "0", data_dir=data_dir, ARENA_LOCAL_MODEL="off")

    assert (refused.returncode, refused.stdout) == (1, "")
    sentences = {line for line in refused.stderr.splitlines() if line.startswith("arena: ")}
    assert len(sentences) == 1 and "this is not the secret key" in sentences.pop()
    assert "Traceback" not in refused.stderr


def test_the_doctor_says_how_to_mend_each_failure(tmp_path):
    report = run(
        "doctor",
        data_dir=tmp_path / "data",
        ARENA_DATABASE_URL=NOTHING_LISTENS,
        ARENA_REDIS_URL="redis://127.0.0.1:1",
        ARENA_OPENAI_BASE_URL="http://127.0.0.1:1/v1",
        ARENA_LOCAL_MODEL="off",
        COLUMNS="300",
    )

    assert report.returncode == 1, report.stderr
    failed = [line for line in report.stdout.splitlines() if "fail" in line]
    assert [line.split("│")[1].strip() for line in failed] == ["PostgreSQL", "Valkey", "OpenAI-compatible"]
    assert all(line.split("│")[4].strip() for line in failed)
    assert "hunter2secret" not in report.stdout + report.stderr
