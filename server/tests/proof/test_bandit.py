"""Bandit over what we ship. Ruff has the same rules under the same numbers, so one mark sets one aside in both."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NO_SECRETS = "bench/"
"""Where whatever is drawn by chance is a load, and no secret."""
LOOKED_AT = ("server/app", "server/migrations", "client", "bench")


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bandit",
            "--configfile",
            "pyproject.toml",
            "--quiet",
            "--format=json",
            "-r",
            *LOOKED_AT,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return dict(json.loads(done.stdout))


def is_set_aside(result: dict[str, Any]) -> bool:
    """Whether a line of the statement names the rule, in Ruff's words, and a reason."""
    if result["test_id"] == "B311" and result["filename"].startswith(NO_SECRETS):
        return True
    lines = (ROOT / result["filename"]).read_text().splitlines()
    statement = lines[min(result["line_range"]) - 1 : max(result["line_range"])]
    number = result["test_id"].removeprefix("B")
    return any(re.search(rf"# noqa: (\w+, )*S{number}(, \w+)*\s+(- )?\w+", line) for line in statement)


def test_bandit_finds_nothing_that_has_not_been_looked_at(answer):
    found = [
        f"{result['filename']}:{result['line_number']}: {result['test_id']} {result['issue_text']}"
        for result in answer["results"]
        if not is_set_aside(result)
    ]

    assert not answer["errors"]
    assert not found, "\n".join(found)


def test_bandit_looks_at_everything_that_we_ship(answer):
    assert answer["metrics"]["_totals"]["loc"] > 15_000


def test_a_rule_of_bandits_own_is_set_aside_only_with_a_reason():
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in LOOKED_AT
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "nosec" in line and not re.search(r"# nosec B\d+ - \w+", line)
    ]

    assert not bare


def test_bandit_would_find_a_hole(tmp_path):
    (tmp_path / "hole.py").write_text("import hashlib\n\nhashlib.md5(b'password')\n")

    done = subprocess.run(
        [sys.executable, "-m", "bandit", "-q", str(tmp_path / "hole.py")], check=False, capture_output=True
    )

    assert b"B324" in done.stdout
