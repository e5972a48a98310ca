"""Errors: each a kind with one status, each leaf a code of its own."""

import importlib
import pkgutil
from collections import Counter

import pytest

import app
from app.core.error_handlers import STATUS_BY_KIND, status_of, title_of
from app.core.errors import ArenaError


def all_errors():
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [ArenaError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    return sorted((kind for kind in found if kind.__module__.startswith("app.")), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind is not ArenaError])
def test_every_error_has_the_status_of_its_kind_and_a_name_for_it(kind):
    error = kind.__new__(kind)

    assert status_of(error) in set(STATUS_BY_KIND.values())
    assert title_of(status_of(error)) != "Error"


def test_no_two_errors_share_a_code():
    own = [kind.code for kind in all_errors() if "code" in vars(kind)]

    assert [code for code, times in Counter(own).items() if times > 1] == []


def test_codes_are_words_in_snake_case():
    assert all(kind.code.replace("_", "").isalpha() and kind.code.islower() for kind in all_errors())
