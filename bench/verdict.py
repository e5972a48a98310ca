"""Holds what clients were told against what the log and the rows say afterwards, and counts what does not agree.

Four counts, each with a sentence for every case:

- `lost`: an acknowledged message, an event or a text that a client was told and that is not kept; a hole in the log
  or in the turns; a turn that failed or a discussion that ended short although nothing but processes failed.
- `duplicated`: a turn, a message or an event that is there, or was told, twice; an attempt begun twice.
- `overlaps`: a turn, or its text, while another turn is open; anything after the end.
- `stuck`: a discussion that has not ended within its bound, or whose end a viewer was never told.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.record import Record
from bench.viewer import Event

LIVE_ONLY = frozenset({"message.delta", "tool.started", "tool.finished", "stream.reset", "stream.lagged"})
# A discussion that is paused or ended mid-turn has no open turn any more, whether or not anything of it was kept.
_CLOSES_WHAT_IS_OPEN = frozenset({"discussion.paused", "discussion.ended"})


@dataclass
class Verdict:
    """What was found; every list holds a sentence for each case."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(found) for name, found in vars(self).items()}

    @property
    def is_clean(self) -> bool:
        return not any(vars(self).values())

    def include(self, other: "Verdict", title: str) -> None:
        for name, found in vars(other).items():
            getattr(self, name).extend(f"{title}: {sentence}" for sentence in found)

    def __str__(self) -> str:
        lines = [f"{name}: {sentence}" for name, found in vars(self).items() for sentence in found]
        return "\n".join(lines) or "nothing lost, nothing twice, nothing overlapping, nothing stuck"


def judge(
    record: Record,
    told: Sequence[Event] | None,
    acknowledged: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    turns: int | None = None,
    must_end: bool = True,
) -> Verdict:
    """Compare one discussion with what one client was told of it, if anybody watched.

    `turns` is how many turns it must have by now, if that is known; with `must_end` false it may still be open.
    """
    verdict = Verdict()
    _LogReader(verdict).read(record.events)
    _compare_rows(verdict, record)
    if told is not None:
        _TellingReader(verdict).read(told, record.events)
    _compare_acknowledged(verdict, record, acknowledged or {})
    if turns is not None and record.discussion["turn"] != turns:
        why = record.discussion["end_reason"]
        verdict.lost.append(f"{record.discussion['turn']} turns were taken instead of {turns} (end reason {why})")
    if must_end and record.discussion["status"] != "ended":
        verdict.stuck.append(f"it is {record.discussion['status']} after {record.discussion['turn']} turns")
    elif must_end and told is not None and not any(event.type == "discussion.ended" for event in told):
        verdict.stuck.append("the viewer was never told of the end")
    return verdict


@dataclass(frozen=True, slots=True)
class _Attempt:
    turn: int
    message_id: str
    attempt: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "_Attempt":
        return cls(data["turn"], str(data["message_id"]), data["attempt"])


class _LogReader:
    """Walks through a log; at every place at most one turn is open."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._open: _Attempt | None = None
        self._begun: set[tuple[str, int]] = set()
        self._last_turn = 0
        self._failed: set[int] = set()
        self._ended = False

    def read(self, events: Iterable[Mapping[str, Any]]) -> None:
        for place, event in enumerate(events, 1):
            if event["seq"] != place:
                self._verdict.lost.append(f"event {event['seq']} stands in the log's place {place}")
            if self._ended:
                self._verdict.overlaps.append(f"{event['type']} (seq {event['seq']}) after the end")
            self._take(event["type"], event["data"], event["seq"])

    def _take(self, kind: str, data: Mapping[str, Any], seq: int) -> None:
        if kind == "turn.started":
            self._start(_Attempt.of(data), seq)
        elif kind == "turn.retried":
            self._retry(_Attempt.of(data), seq)
        elif kind == "message.completed" and data["turn"] is not None:
            self._complete(data, seq)
        elif kind in {"turn.failed", "turn.passed"}:
            self._give_up(kind, data, seq)
        elif kind in _CLOSES_WHAT_IS_OPEN:
            self._open = None
            self._ended = kind == "discussion.ended"

    def _start(self, attempt: _Attempt, seq: int) -> None:
        if self._open is not None:
            self._verdict.overlaps.append(f"turn {attempt.turn} starts (seq {seq}) while {self._open} is open")
        self._expect_next(attempt.turn, seq)
        self._begin(attempt, seq)

    def _retry(self, attempt: _Attempt, seq: int) -> None:
        if self._open is None or self._open.message_id != attempt.message_id:
            self._verdict.overlaps.append(f"{attempt} is a retry (seq {seq}) while {self._open} is open")
        elif attempt.attempt <= self._open.attempt:
            self._verdict.duplicated.append(f"{attempt} (seq {seq}) comes after attempt {self._open.attempt}")
        self._begin(attempt, seq)

    def _begin(self, attempt: _Attempt, seq: int) -> None:
        if (attempt.message_id, attempt.attempt) in self._begun:
            self._verdict.duplicated.append(f"{attempt} begins again (seq {seq})")
        self._begun.add((attempt.message_id, attempt.attempt))
        self._open = attempt

    def _complete(self, message: Mapping[str, Any], seq: int) -> None:
        if self._open is None and message["kind"] == "llm":
            self._verdict.overlaps.append(f"turn {message['turn']} is completed (seq {seq}) and was not open")
        if self._open is not None and (self._open.message_id, self._open.attempt) != (
            message["id"],
            message["attempt"],
        ):
            self._verdict.overlaps.append(f"turn {message['turn']} is completed (seq {seq}) while {self._open} is open")
        self._expect_next(message["turn"], seq)
        self._last_turn, self._open = message["turn"], None

    def _give_up(self, kind: str, data: Mapping[str, Any], seq: int) -> None:
        """A turn without a message; whether a failed one has used up its number only the next turn tells."""
        if self._open is not None and self._open.turn != data["turn"]:
            self._verdict.overlaps.append(f"{kind} of turn {data['turn']} (seq {seq}) while {self._open} is open")
        self._open = None
        if kind == "turn.failed":
            self._failed.add(data["turn"])
        else:
            self._expect_next(data["turn"], seq)
            self._last_turn = data["turn"]

    def _expect_next(self, turn: int, seq: int) -> None:
        if turn <= self._last_turn:
            self._verdict.duplicated.append(f"turn {turn} comes again (seq {seq})")
        elif turn > self._last_turn + 1:
            missing = sorted(set(range(self._last_turn + 1, turn)) - self._failed)
            self._verdict.lost.extend(f"turn {number} is missing (seq {seq})" for number in missing)
            self._last_turn = turn - 1


def _compare_rows(verdict: Verdict, record: Record) -> None:
    """The rows say what the log says, no more and no less."""
    if record.discussion["last_seq"] != len(record.events):
        verdict.lost.append(f"last_seq is {record.discussion['last_seq']} of {len(record.events)} events")
    logged = [event["data"] for event in record.events if event["type"] == "message.completed"]
    verdict.duplicated.extend(_more_than_once("message {} is in the log", (said["id"] for said in logged)))
    spoken = (row["turn"] for row in record.messages if row["turn"] is not None)
    verdict.duplicated.extend(_more_than_once("turn {} has a message", spoken))
    verdict.duplicated.extend(_more_than_once("turn {} has a row", (row["turn"] for row in record.turns)))
    rows = {row["id"]: row for row in record.messages}
    for said in logged:
        row = rows.pop(said["id"], None)
        if row is None or any(row[name] != said[name] for name in ("seq", "turn", "attempt", "content", "status")):
            verdict.lost.append(f"message {said['id']} (seq {said['seq']}) is in the log, and its row is {row}")
    verdict.lost.extend(
        f"message {row['id']} (turn {row['turn']}) is a row and not in the log" for row in rows.values()
    )


def _more_than_once(sentence: str, values: Iterable[object]) -> list[str]:
    return [f"{sentence.format(value)} {times} times" for value, times in Counter(values).items() if times > 1]


def _compare_acknowledged(verdict: Verdict, record: Record, acknowledged: Mapping[str, Mapping[str, Any]]) -> None:
    logged = {event["data"]["id"]: event["data"] for event in record.events if event["type"] == "message.completed"}
    for message_id, message in acknowledged.items():
        kept = logged.get(message_id)
        if kept is None or (kept["content"], kept["seq"]) != (message["content"], message["seq"]):
            verdict.lost.append(f"message {message_id} was acknowledged as {message['seq']}, and the log has {kept}")


class _TellingReader:
    """Walks through what a viewer was told, over all its connections, beside the log."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._seq = 0
        self._shown = 0
        self._open: tuple[str, int] | None = None
        self._texts: dict[tuple[str, int], str] = {}

    def read(self, told: Iterable[Event], log: Sequence[Mapping[str, Any]]) -> None:
        for event in told:
            seq, _, shown = event.id.partition(".")
            if event.type in LIVE_ONLY:
                self._live(event, int(seq), int(shown or 0))
            else:
                self._durable(event, int(seq), log)
                self._shown = int(shown or 0)

    def _durable(self, event: Event, seq: int, log: Sequence[Mapping[str, Any]]) -> None:
        if seq <= self._seq:
            self._verdict.duplicated.append(f"a viewer was told event {seq} again")
        elif seq > self._seq + 1:
            self._verdict.lost.append(f"a viewer was told event {seq} after {self._seq}")
        self._seq = seq
        kept = log[seq - 1] if seq <= len(log) else None
        if kept is None or (kept["type"], kept["data"]) != (event.type, event.data):
            self._verdict.lost.append(f"a viewer was told {event.type} as {seq}, and the log has {kept}")
        if event.type in {"turn.started", "turn.retried"}:
            self._open = (event.data["message_id"], event.data["attempt"])
        elif event.type == "message.completed":
            self._complete(event.data)

    def _complete(self, message: Mapping[str, Any]) -> None:
        key = (message["id"], message["attempt"])
        text = self._texts.pop(key, None)
        if text is not None and text != message["content"]:
            self._verdict.lost.append(f"turn {message['turn']}: a viewer was shown {text!r} of {message['content']!r}")
        if key == self._open:
            self._open = None

    def _live(self, event: Event, seq: int, shown: int) -> None:
        if seq != self._seq:
            self._verdict.overlaps.append(f"a viewer was told {event.type} of {seq} at {self._seq}")
        if event.type == "stream.reset":
            self._texts.clear()
            self._shown = 0
        elif event.type == "message.delta":
            self._delta(event.data, shown)

    def _delta(self, data: Mapping[str, Any], shown: int) -> None:
        key = (data["message_id"], data["attempt"])
        if key != self._open:
            self._verdict.overlaps.append(f"a viewer was shown text of {key} while {self._open} was open")
        text = self._texts.get(key, "")
        if data["offset"] < len(text):
            self._verdict.duplicated.append(
                f"turn {data['turn']}: text at {data['offset']} of {len(text)} shown already"
            )
        elif data["offset"] > len(text):
            self._verdict.lost.append(f"turn {data['turn']}: text at {data['offset']} after {len(text)} characters")
        if shown <= self._shown:
            self._verdict.duplicated.append(f"turn {data['turn']}: {shown} after {self._shown} in event {self._seq}")
        self._shown = shown
        self._texts[key] = text[: data["offset"]] + data["text"]
