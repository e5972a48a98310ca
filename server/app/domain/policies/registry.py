"""The policies there are: our own, and those of installed packages."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.policies.base import Seat, TurnPolicy
from app.domain.policies.bidding import Bidding
from app.domain.policies.errors import UnknownTurnPolicy
from app.domain.policies.manual import Manual
from app.domain.policies.mention import Mention
from app.domain.policies.moderator import Moderator
from app.domain.policies.plugins import GuardedPolicy, PolicyFactory, check_plugin, load_plugin
from app.domain.policies.round_robin import RoundRobin
from app.domain.policies.scripted import Scripted, settled
from app.domain.policies.weighted_random import WeightedRandom

POLICIES: dict[str, PolicyFactory] = {
    "round_robin": RoundRobin,
    "random": WeightedRandom,
    "mention": Mention,
    "moderator": Moderator,
    "bidding": Bidding,
    "scripted": Scripted,
    "manual": Manual,
}


def find_policy(name: str) -> PolicyFactory | None:
    """What makes the policy of its configuration; None if there is none of that name.

    Raise `UnknownTurnPolicy` if it is a plugin that cannot be loaded.
    """
    return POLICIES.get(name) or load_plugin(name)


def make_policy(config: Mapping[str, Any]) -> TurnPolicy:
    """The policy of a discussion. One whose package is gone or broken gives every turn to round_robin and says so."""
    name = config["type"]
    if name in POLICIES:
        return POLICIES[name](config)
    try:
        factory = find_policy(name)
    except UnknownTurnPolicy:
        factory = None
    return GuardedPolicy(name, factory, config)


def check_policy(config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
    """Raise `InvalidTurnPolicy` or a kind of it unless the policy exists and can work at this table.

    `roster` are the seats of the speaking order.
    """
    name = config["type"]
    factory = find_policy(name)
    if factory is None:
        known = ", ".join(POLICIES)
        raise UnknownTurnPolicy(f"there is no turn policy {name!r}; known are {known} and installed plugins", "type")
    if name not in POLICIES:
        check_plugin(name, factory, config, roster)
        return
    check = getattr(factory, "check", None)
    if check is not None:
        check(config, roster)


def settle_policy(config: Mapping[str, Any], roster: Sequence[Seat]) -> dict[str, Any]:
    """The configuration to keep, checked: the same, and for a format also who takes which role."""
    check_policy(config, roster)
    return dict(settled(config, roster) if config["type"] == "scripted" else config)
