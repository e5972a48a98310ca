"""What a turn policy keeps from a speaker: others' latest words, and who said what."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_lowercase
from uuid import UUID

from app.domain.context import Utterance

_HANDLE = re.compile(r"@([a-z0-9_-]{1,32})", re.IGNORECASE)
UNKNOWN = "participant"


def letters(handles: Sequence[str]) -> Mapping[str, str]:
    """`participant-a`, `participant-b` … by handle, in seating order, so that all speak of the same one."""
    return {handle: f"{UNKNOWN}-{_letter(number)}" for number, handle in enumerate(handles)}


def _letter(number: int) -> str:
    """a … z, aa, ab …"""
    rest, place = divmod(number, len(ascii_lowercase))
    return (_letter(rest - 1) if rest else "") + ascii_lowercase[place]


def without_turns_after(turn: int, transcript: Iterable[Utterance], *, own: UUID) -> Iterator[Utterance]:
    """Leave out what others said in later turns; words outside the speaking order are for everybody."""
    return (said for said in transcript if said.turn is None or said.turn <= turn or said.participant_id == own)


def under_letters(
    transcript: Iterable[Utterance], by_handle: Mapping[str, str], *, own_handle: str
) -> Iterator[Utterance]:
    """Put letters in the place of others' handles, in labels and wherever their words address somebody.

    The speaker's own words stay as they were said, and its own handle stays its own. Names that are written without
    an @ stay in the text.
    """
    shown = {**by_handle, own_handle: own_handle}

    def hide(match: re.Match[str]) -> str:
        letter = shown.get(match[1].lower())
        return f"@{letter}" if letter else match[0]

    for said in transcript:
        if said.handle == own_handle:
            yield said
            continue
        label, content = shown.get(said.handle, UNKNOWN), _HANDLE.sub(hide, said.content)
        yield Utterance.of(label, content, said.participant_id, said.turn, said.visible_to)
