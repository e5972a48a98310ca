"""Our own rules over our own code, and over examples of what each finds and what it lets pass.

Semgrep has a virtual environment of its own, since what it needs and what we need cannot be installed together.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / ".venv-semgrep" / "bin" / "semgrep"
RULES = ROOT / "server" / "semgrep" / "rules"
EXAMPLES = ROOT / "server" / "semgrep" / "examples"
LOOKED_AT = ("server/app", "server/migrations", "client", "bench")
Place = tuple[str, int, str]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, Any]]:
    if not PROGRAM.exists():
        pytest.skip("semgrep is not installed here; `make .venv-semgrep/installed` says why")
    options = ["--metrics=off", "--disable-version-check", "--no-git-ignore", "--quiet", "--json", "--jobs=2"]
    done = subprocess.run(
        [str(PROGRAM), "scan", "--config", str(RULES), *options, *LOOKED_AT, str(EXAMPLES.relative_to(ROOT))],
        cwd=ROOT,
        # It starts other programs of its own environment, and writes a settings file at home.
        env={
            **os.environ,
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path_factory.mktemp("home")),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    answer = json.loads(done.stdout)
    assert not answer["errors"], answer["errors"]
    scanned = answer["paths"]["scanned"]
    assert len(scanned) > 200, "the files have moved"
    return list(answer["results"])


def place(result: dict[str, Any]) -> Place:
    return result["path"], result["start"]["line"], result["check_id"].rpartition(".")[2]


def marked(word: str) -> Iterator[Place]:
    for path in EXAMPLES.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if mark := re.search(rf"  # {word}: ([\w-]+)$", line):
                yield str(path.relative_to(ROOT)), number, mark[1]


def test_every_rule_finds_what_it_is_for_and_nothing_else(found):
    examples = {place(result) for result in found if result["path"].startswith("server/semgrep/")}

    assert examples == set(marked("found"))


def test_every_rule_has_an_example_of_both_kinds():
    rules = {rule for path in RULES.glob("*.yml") for rule in re.findall(r"^  - id: (\S+)$", path.read_text(), re.M)}

    assert len(rules) >= 15
    assert {rule for _, _, rule in marked("found")} == rules
    assert {rule for _, _, rule in marked("passed")} == rules


def test_the_code_breaks_no_rule(found):
    broken = [
        f"{result['path']}:{result['start']['line']}: {result['check_id'].rpartition('.')[2]}: "
        f"{result['extra']['message']}"
        for result in found
        if not result["path"].startswith("server/semgrep/")
    ]

    assert not broken, "\n".join(broken)


def test_a_rule_is_set_aside_only_with_a_reason():
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in LOOKED_AT
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "nosemgrep" in line and not re.search(r"# nosemgrep: [\w-]+ - \w+", line)
    ]

    assert not lines, "\n".join(lines)
