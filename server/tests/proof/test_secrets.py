"""No secret is committed: detect-secrets over every tracked file, against `.secrets.baseline` of what was looked at.

What is new and no secret is added by `make secrets`, and its line in the change is there to be seen.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BASELINE = ROOT / ".secrets.baseline"
MADE_UP = {"Secret Keyword", "Basic Auth Credentials"}
"""Kinds that tests have by the dozen, of people who do not exist; the rest has no business there either."""
TESTS = "server/tests/"
# Joined here, so that this file holds none.
PLANTED = {
    "AWS Access Key": "AKIA" + "QZ7TRWLN4XPVKJ2M",
    "Private Key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "GitHub Token": "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx",
    "Secret Keyword": "api_key = '" + "Zk2v9QwLr7Tn5Xc1" + "'",
    "Base64 High Entropy String": "blob = '"
    + "c3VwZXIgbG9uZyBzdHJpbmcg"
    + "c2hvdWxkIGNhdXNlIGVub3VnaCBlbnRyb3B5"
    + "'",
}

Secret = tuple[str, str, str]


def scan(*arguments: str, cwd: Path = ROOT) -> set[Secret]:
    done = subprocess.run(
        [sys.executable, "-m", "detect_secrets", "scan", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )
    return secrets_of(done.stdout)


def secrets_of(text: str) -> set[Secret]:
    return {
        (name, secret["type"], secret["hashed_secret"])
        for name, secrets in json.loads(text)["results"].items()
        for secret in secrets
    }


def test_nothing_that_is_committed_looks_like_a_secret():
    known = secrets_of(BASELINE.read_text())
    skipped = next(
        f["pattern"][0]
        for f in json.loads(BASELINE.read_text())["filters_used"]
        if f["path"].endswith("should_exclude_file")
    )

    found = scan("--exclude-files", skipped) - known

    new = {(name, kind) for name, kind, _ in found if not (name.startswith(TESTS) and kind in MADE_UP)}
    assert not new


@pytest.mark.parametrize(("kind", "line"), PLANTED.items(), ids=list(PLANTED))
def test_a_planted_secret_is_found(tmp_path, kind, line):
    (tmp_path / "settings.py").write_text(f"{line}\n" if "=" in line else f"value = '{line}'\n")

    found = scan("--all-files", ".", cwd=tmp_path)

    assert kind in {found_kind for _, found_kind, _ in found}
