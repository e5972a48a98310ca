"""What a workspace's provider is called in the names of its models: `<provider>/<model>`."""

import re

RESERVED = frozenset({"local", "openai", "replay"})
"""The operator's own."""
_UNFIT = re.compile(r"[\s/]+")


def name_in_models(name: str) -> str:
    """The name itself; of an older one with blanks or slashes, which no model's name could begin with, with hyphens."""
    fit = _UNFIT.sub("-", name.strip())
    return f"{fit}-" if fit in RESERVED else fit
