"""Handles: how a participant is addressed, `[a-z0-9_-]{1,32}`."""

import re
import unicodedata
from collections.abc import Container

HANDLE_PATTERN = r"^[a-z0-9_-]{1,32}$"
MAX_HANDLE = 32
# Of chat templates, and of a discussion.
ROLES = frozenset({"assistant", "developer", "function", "ipython", "model", "moderator", "system", "tool", "user"})


def derive_handle(name: str) -> str:
    """`Dr. Ada Löwe` → `dr-ada-lowe`; `participant` if nothing of the name can be used."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", ascii_name).strip("-")[:MAX_HANDLE].rstrip("-") or "participant"


def person_handle(name: str) -> str:
    """The handle of somebody who chose that name themselves: never the name of a role."""
    handle = derive_handle(name)
    return f"participant-{handle.strip('_')}" if handle.strip("_") in ROLES else handle


def free_handle(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` … whichever is first not taken."""
    if wanted not in taken:
        return wanted
    number = 2
    while True:
        suffix = f"-{number}"
        candidate = wanted[: MAX_HANDLE - len(suffix)] + suffix
        if candidate not in taken:
            return candidate
        number += 1
