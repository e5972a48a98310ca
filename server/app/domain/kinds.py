"""The kinds of a workspace's things whose answers may be kept, each until one of that kind changes."""

from enum import StrEnum


class Kind(StrEnum):
    """`PASSAGES` is all that searches look at, and who makes their vectors."""

    AGENTS = "agents"
    BASES = "bases"
    DOCUMENTS = "documents"
    PASSAGES = "passages"
