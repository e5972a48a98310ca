"""What we build on: bounded from below, locked with hashes, past known holes, and under licences that allow it."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
OF_DEVELOPERS = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-semgrep.lock")

FLOORS = {
    "aiohttp": (
        "3.14.3",
        "CVE-2026-69244: a read beyond an answer; CVE-2025-53643: smuggling by chunked trailers",
    ),
    "authlib": ("1.6.12", "CVE-2026-27962: a key believed that a token brings along; CVE-2025-59420: critical headers"),
    "certifi": ("2024.7.4", "CVE-2024-39689: roots that are trusted no more"),
    "cryptography": ("44.0.1", "CVE-2024-12797: a raw public key of the other side unchecked"),
    "h11": ("0.16.0", "CVE-2025-43859: smuggling by malformed chunks"),
    "idna": ("3.7", "CVE-2024-3651: quadratic time"),
    "orjson": ("3.9.15", "CVE-2024-27454: deep documents"),
    "pyjwt": ("2.13.0", "CVE-2026-48526: a public key taken for a shared secret; CVE-2026-32597: critical headers"),
    "python-multipart": ("0.0.28", "CVE-2026-42561; CVE-2024-53981: a form that is logged byte by byte"),
    "redis": ("4.5.5", "CVE-2023-28858 and CVE-2023-28859: the answer of somebody else's command"),
    "requests": ("2.32.4", "CVE-2024-47081: a .netrc sent elsewhere"),
    "starlette": ("1.3.1", "CVE-2026-48710: a Host header believed; CVE-2025-62727: quadratic time by Range"),
    "urllib3": ("2.7.0", "CVE-2026-44431 and CVE-2026-44432; CVE-2025-50181: redirects followed against one's will"),
    "werkzeug": ("3.0.6", "CVE-2024-49767: a form without a limit"),
}
"""The first release without a hole that would matter here."""

PERMITTED = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|0BSD|Unlicense|CC0|Zlib|MPL|Mozilla|PostgreSQL|HPND)\b"
    # psycopg, which one may link to; certifi's list is MPL.
    r"|\bLGPL|Lesser General Public|GNU Library",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(
    r"(?<!L)\b(AGPL|GPL)|Affero|(?<!Lesser )General Public License|SSPL|Business Source|Commons Clause"
)


def pins(lock: str) -> dict[str, Version]:
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


def entries(lock: str) -> Iterator[str]:
    """Each requirement with the lines that belong to it."""
    lines = (ROOT / lock).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.strip().startswith("#"))
    yield from re.split(r"\n(?=\S)", text)


@pytest.mark.parametrize("needed", [*OURS, *OF_DEVELOPERS], ids=lambda needed: needed.name)
def test_every_dependency_has_a_lower_bound_that_the_lock_satisfies(needed):
    assert any(bound.operator in {">=", "==", "~="} for bound in needed.specifier), f"{needed} has no lower bound"
    locked = pins("requirements-dev.lock")[canonicalize_name(needed.name)]
    assert needed.specifier.contains(locked, prereleases=True)


def test_both_locks_have_the_same_releases():
    shipped, developed = pins("requirements.lock"), pins("requirements-dev.lock")

    assert shipped.items() <= developed.items()
    assert {canonicalize_name(needed.name) for needed in OURS} <= shipped.keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_of_everything_and_names_no_index(lock):
    without = [entry.splitlines()[0] for entry in entries(lock) if "--hash=sha256:" not in entry]

    assert not without
    assert len(list(entries(lock))) >= len(pins(lock)) > 20  # some have another release on another system
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:|git\+", (ROOT / lock).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_that_is_locked_has_a_hole_that_is_known(lock):
    locked = pins(lock)
    holes = {
        f"{name} {locked[name]}: {hole}"
        for name, (floor, hole) in FLOORS.items()
        if name in locked and locked[name] < Version(floor)
    }

    assert not holes


def test_the_floors_are_of_what_we_use():
    assert FLOORS.keys() <= pins("requirements-dev.lock").keys() | pins("requirements-semgrep.lock").keys()


def licence_of(name: str) -> str | None:
    """As the package says it; None if it is for another system."""
    try:
        facts = distribution(name).metadata
    except PackageNotFoundError:
        return None
    classifiers = [given for given in facts.get_all("Classifier") or [] if given.startswith("License ::")]
    return " ".join([facts.get("License-Expression") or "", *classifiers]).strip() or (facts.get("License") or "")[:200]


def test_what_we_ship_is_under_licences_that_permit_it():
    licences = {name: licence for name in pins("requirements.lock") if (licence := licence_of(name)) is not None}

    wrong = {
        name: licence
        for name, licence in licences.items()
        if not PERMITTED.search(licence) or FORBIDDEN.search(licence)
    }
    assert not wrong
    assert len(licences) > 40
