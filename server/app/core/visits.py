"""Where a request comes from, as far as its owner is shown it."""

from dataclasses import dataclass

MOST_DEVICE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Visit:
    """What a session is recognised by in the list of its owner's: a device's own words, and an address."""

    device: str | None = None
    address: str | None = None

    @classmethod
    def of(cls, user_agent: str | None, address: str | None) -> "Visit":
        return cls(readable_device(user_agent), address)


def readable_device(user_agent: str | None) -> str | None:
    """One line of at most 200 printable characters; None if nothing of it is.

    Anybody may send anything: a line break or a character that reverses its neighbours must not reach a list or a log.
    """
    printable = "".join(character if character.isprintable() else " " for character in user_agent or "")
    return " ".join(printable.split())[:MOST_DEVICE_CHARACTERS].rstrip() or None
