"""The documents say what the code does: settings, links, make targets."""

import re
from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from app import config

ROOT = Path(__file__).parents[3]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
DOCUMENTS = sorted(
    document
    for place in (ROOT, *(ROOT / name for name in ("bench", "client", "deploy", "docs", "examples", "server")))
    for document in (place.glob("*.md") if place == ROOT else place.rglob("*.md"))
)

_ROW = re.compile(r"^\| `(ARENA_\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
_NAME = re.compile(r"\bARENA_[A-Z][A-Z_]*[A-Z]\b")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
# A command begins its line: elsewhere in a block, such as in a recording, it is a word.
_MAKE = re.compile(r"^(?:`|\$ )?make ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def _shown(default: object) -> str:
    """A default as the table shows it."""
    if default is None:
        return "unset"
    return f"`{default.get_secret_value() if isinstance(default, SecretStr) else default}`"


def _settings() -> dict[str, str]:
    """Every variable and its default; those worked out at the start are explained in words."""
    return {
        f"ARENA_{name.upper()}": "" if field.default is PydanticUndefined else _shown(field.default)
        for group in config._Group.__subclasses__()
        for name, field in group.model_fields.items()
    }


def test_the_readme_documents_every_setting_once_with_its_default_and_no_other():
    rows = _ROW.findall(README.read_text("utf-8"))

    assert Counter(name for name, _default, _meaning in rows) == Counter(_settings().keys())
    wrong = {name: default for name, default, _meaning in rows if _settings()[name] not in {"", default}}
    assert not wrong, f"other defaults than the code's: {wrong}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_only_variables_that_the_code_reads(document):
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "server" / "app").rglob("*.py"))
    known = {*_settings(), *_NAME.findall(sources)}

    assert set(_NAME.findall(document.read_text("utf-8"))) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_relative_link_leads_to_a_file(document):
    targets = [link.partition("#")[0] for link in _LINK.findall(document.read_text("utf-8")) if "://" not in link]

    assert [target for target in targets if target and not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", [README, CONTRIBUTING], ids=lambda path: path.name)
def test_a_make_target_that_is_named_exists(document):
    code = "\n".join(_CODE.findall(document.read_text("utf-8")))
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text("utf-8")))

    named = set(_MAKE.findall(code))
    assert named
    assert named <= targets
