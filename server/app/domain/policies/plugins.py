"""Policies of other packages (entry points `arena.turn_policies`), kept from breaking a discussion.

Always holds: whatever a plugin raises or answers, the discussion goes on. Where it fails, the turn goes to round_robin
with the reason `fallback: <policy> failed`, and the log says why. A call that never returns cannot be interrupted; slow
ones are logged.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from random import Random
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID

import structlog

from app.domain.policies.base import Brief, Choice, History, Question, Seat, TurnPolicy
from app.domain.policies.errors import InvalidTurnPolicy, UnknownTurnPolicy
from app.domain.policies.round_robin import RoundRobin
from app.domain.prompt import ChatMessage

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")
PolicyFactory = Callable[[Mapping[str, Any]], TurnPolicy]

GROUP = "arena.turn_policies"
SLOW_SECONDS = 0.1
MOST_STATE_CHARACTERS = 64_000
MOST_TEXT_CHARACTERS = 8_000
MOST_REASON_CHARACTERS = 200
MOST_ANSWER_TOKENS = 1_000
# A plugin may raise anything; only what ends the process on purpose passes.
_ANYTHING = (Exception, SystemExit)


class BadAnswer(Exception):
    """The plugin returned something that the port does not allow."""


@cache
def _installed() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def load_plugin(name: str) -> PolicyFactory | None:
    """The class that an installed package registered under that name, looked for once a process.

    Raise `UnknownTurnPolicy` if it is there and cannot be imported.
    """
    point = _installed().get(name)
    if point is None:
        return None
    try:
        factory: PolicyFactory = point.load()
    except _ANYTHING:
        log.exception("turn_policy_not_loaded", policy=name)
        raise UnknownTurnPolicy(f"the plugin of the turn policy {name!r} cannot be loaded", "type") from None
    return factory


def check_plugin(name: str, factory: PolicyFactory, config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
    """Let the plugin look at its configuration; its `ValueError` is the caller's fault, anything else its own."""
    try:
        check = getattr(factory, "check", None)
        if check is not None:
            check(config, roster)
        factory(config)
    except ValueError as error:
        raise InvalidTurnPolicy(_printable(f"turn_policy: {error}")) from None
    except _ANYTHING:
        log.exception("turn_policy_failed", policy=name, step="check")
        raise InvalidTurnPolicy(f"turn_policy: the plugin {name!r} failed to check its configuration") from None


class GuardedPolicy:
    """A plugin behind the port's promises. `factory` None: its package is not installed here."""

    def __init__(self, name: str, factory: PolicyFactory | None, config: Mapping[str, Any]) -> None:
        self._name = name
        self._config = config
        self._factory = factory
        self._made: TurnPolicy | None = None

    def candidates(self, roster: Sequence[Seat]) -> Sequence[Seat]:
        return self._guarded("candidates", lambda policy: _seats(policy, roster), roster)

    def questions(self, roster: Sequence[Seat], history: History) -> Sequence[Question]:
        return self._guarded("questions", lambda policy: self._questions(policy, roster, history), ())

    def brief(self, seat: Seat, state: Mapping[str, Any] | None) -> Brief:
        return self._guarded("brief", lambda policy: _brief(policy, seat, state), Brief())

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice | None:
        following = RoundRobin().next_speaker(roster, history, rng)
        instead: Choice | None = replace(following, reason=f"fallback: {self._name} failed", state=history.state)
        return self._guarded("next_speaker", lambda policy: _choice(policy, roster, history, rng), instead)

    def _guarded(self, step: str, call: Callable[[TurnPolicy], T], instead: T) -> T:
        began = perf_counter()
        try:
            return call(self._policy())
        except _ANYTHING:
            log.exception("turn_policy_failed", policy=self._name, step=step)
            return instead
        finally:
            seconds = perf_counter() - began
            if seconds > SLOW_SECONDS:
                log.warning("turn_policy_slow", policy=self._name, step=step, duration_ms=round(seconds * 1000))

    def _policy(self) -> TurnPolicy:
        if self._factory is None:
            raise BadAnswer("no such turn policy is installed")
        if self._made is None:
            self._made = self._factory(self._config)
        return self._made

    def _questions(self, policy: TurnPolicy, roster: Sequence[Seat], history: History) -> Sequence[Question]:
        asked = {}
        at_the_table = {seat.participant_id for seat in roster}
        for question in policy.questions(roster, history) if hasattr(policy, "questions") else ():
            _demand(isinstance(question, Question) and isinstance(question.text, str), "a question is no Question")
            _demand(question.participant_id in at_the_table, "a question is for somebody who is not at the table")
            json.dumps(question.schema, allow_nan=False)  # raises here, not in the driver
            asked[question.participant_id] = replace(
                question,
                text=_printable(question.text)[:MOST_TEXT_CHARACTERS],
                parse=self._parse(question),
                prompt=self._prompt(question) if question.prompt is not None else None,
                max_tokens=min(max(int(question.max_tokens), 1), MOST_ANSWER_TOKENS),
            )
        return tuple(asked.values())

    def _parse(self, question: Question) -> Callable[[str], Any]:
        return lambda answer: self._guarded("parse", lambda _policy: question.parse(answer), None)

    def _prompt(self, question: Question) -> Callable[[int], Sequence[ChatMessage]]:
        """Its own prompt, or where it cannot make one its bare text."""
        instead = [ChatMessage("user", _printable(question.text)[:MOST_TEXT_CHARACTERS])]
        return lambda room: self._guarded("prompt", lambda _policy: _messages(question, room), instead)


def _seats(policy: TurnPolicy, roster: Sequence[Seat]) -> Sequence[Seat]:
    chosen = list(policy.candidates(roster)) if hasattr(policy, "candidates") else roster
    _demand(all(seat in roster for seat in chosen), "a candidate is not at the table")
    return chosen


def _messages(question: Question, room: int) -> Sequence[ChatMessage]:
    made = list(question.prompt(room)) if question.prompt is not None else []
    _demand(bool(made) and all(isinstance(one, ChatMessage) for one in made), "a prompt is no list of messages")
    _demand(all(isinstance(one.content, str) for one in made), "a message's content is no text")
    return [replace(one, content=_printable(one.content)) for one in made]


def _choice(policy: TurnPolicy, roster: Sequence[Seat], history: History, rng: Random) -> Choice | None:
    choice = policy.next_speaker(roster, history, rng)
    if choice is None:
        return None
    _demand(isinstance(choice, Choice) and isinstance(choice.reason, str), "no Choice with a reason")
    is_there = any(seat.participant_id == choice.participant_id for seat in roster)
    _demand(choice.participant_id is None or is_there, "chose somebody who is not at the table")
    _demand(choice.participant_id is None or isinstance(choice.participant_id, UUID), "a participant_id is no UUID")
    return Choice(choice.participant_id, _printable(choice.reason)[:MOST_REASON_CHARACTERS], _state(choice.state))


def _brief(policy: TurnPolicy, seat: Seat, state: Mapping[str, Any] | None) -> Brief:
    brief = policy.brief(seat, state) if hasattr(policy, "brief") else Brief()
    _demand(isinstance(brief, Brief), "no Brief")
    _demand(brief.instruction is None or isinstance(brief.instruction, str), "an instruction is no text")
    _demand(brief.blind_since is None or isinstance(brief.blind_since, int), "blind_since is no turn")
    instruction = _printable(brief.instruction)[:MOST_TEXT_CHARACTERS] if brief.instruction else None
    return replace(brief, instruction=instruction)


def _state(state: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The state as the database will give it back."""
    if state is None:
        return None
    written = json.dumps(state, allow_nan=False, ensure_ascii=False)
    _demand(isinstance(state, Mapping) and written == _printable(written), "a state is no JSON object")
    _demand("\\u0000" not in written and len(written) <= MOST_STATE_CHARACTERS, "a state cannot be stored")
    kept: Mapping[str, Any] = json.loads(written)
    return kept


def _printable(text: str) -> str:
    """What can be stored and sent."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise BadAnswer(complaint)
