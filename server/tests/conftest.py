"""What all tests share: engines of their own, an installation in this process, people, and a reference viewer.

Tests are kept apart by tenancy, not by clean-up: each registers people of its own, whose workspaces nobody else sees,
so nothing is truncated and tests may run in any order. Tests that look at more than one workspace's rows (races and
faults) take a `fresh_database`.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.fixtures.run",
    "tests.fixtures.deadlines",
    "tests.fixtures.databases",
    "tests.fixtures.arena",
    "tests.fixtures.documented",
    "tests.fixtures.queries",
    "tests.fixtures.people",
    "tests.fixtures.mail",
    "tests.fixtures.signers",
    "tests.fixtures.vaults",
    "tests.fixtures.plugins",
    "tests.fixtures.models",
    "tests.fixtures.scripted_model",
    "tests.fixtures.problems",
    "tests.fixtures.engines",
    "tests.fixtures.processes",
    "tests.fixtures.own_engines",
    "tests.fixtures.gateways",
    "tests.fixtures.oidc",
    "tests.fixtures.stand_ins",
    "tests.fixtures.cutting_proxy",
    "tests.fixtures.viewer",
    "tests.factories.agents",
    "tests.factories.discussions",
    "tests.factories.knowledge",
    "tests.factories.providers",
    "tests.factories.tool_servers",
    "tests.fixtures.receivers",
    "tests.fixtures.things",
    "tests.fixtures.given",
]

# What a developer has set for other purposes must not reach the tests, nor the processes they start.
for name in [name for name in os.environ if name.startswith(("ARENA_", "PG"))]:
    del os.environ[name]

# The same examples in every run, and no judgement on how fast this machine is just now.
settings.register_profile(
    "arena", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("arena")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
