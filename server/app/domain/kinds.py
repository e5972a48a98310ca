"""The kinds of a workspace's things whose answers may be kept, each until one of that kind changes."""

from enum import StrEnum


class Kind(StrEnum):
    """`PASSAGES` is all that searches look at."""

    AGENTS = "agents"
    BASES = "bases"
    DOCUMENTS = "documents"
    PASSAGES = "passages"
    PROVIDERS = "providers"
    TOOL_SERVERS = "tool_servers"
