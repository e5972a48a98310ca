"""`make chaos`, once through with two kills: its line, its exit code, and that it leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
SECONDS = 120
KEYS = ["kills", "lost", "duplicated", "overlaps", "stuck", "recovery_ms_p50", "recovery_ms_p99"]


def chaos(*arguments):
    command = [sys.executable, "-m", "bench.chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_two_kills_cost_nothing_and_the_last_line_says_so():
    before = set(psutil.Process().children())

    done = chaos("--kills", "2", "--workers", "2", "--discussions", "6", "--seed", "7")

    result = json.loads(done.stdout.splitlines()[-1])
    assert list(result) == KEYS
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["kills"] == 2
    assert [result[name] for name in KEYS[1:5]] == [0, 0, 0, 0]
    assert 0 < result["recovery_ms_p50"] <= result["recovery_ms_p99"] <= 7000
    assert "--seed 7" in done.stdout.splitlines()[0]
    assert set(psutil.Process().children()) == before


def test_nonsense_is_refused_in_a_sentence():
    done = chaos("--workers", "1")

    assert done.returncode == 2
    assert "2 workers or more" in done.stderr
