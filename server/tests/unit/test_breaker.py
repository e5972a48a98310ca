"""Circuit breakers, on a clock that the test moves."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.services.providers.base import (
    ModelCircuitOpen,
    ModelDisconnected,
    ModelMalformed,
    ModelRateLimited,
    ModelRejected,
    ModelTimedOut,
    ModelUnavailable,
    ModelUnreachable,
)
from app.services.providers.breaker import Breaker, Breakers

FAILURES, SECONDS = 3, 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(clock):
    return Breakers("openai", FAILURES, SECONDS, clock)


def call(breakers, error=None, model="a", *, text=False, success=True):
    """One call that ends at once."""
    with breakers.watching(model) as under_way:
        if text:
            under_way.answered()
        if error is not None:
            raise error
        if success:
            under_way.succeeded()


def fail(breakers, error, times=1, model="a"):
    for _ in range(times):
        with pytest.raises(type(error)):
            call(breakers, error, model)


def is_open(breakers, model="a"):
    try:
        breakers.refuse(model)
    except ModelCircuitOpen:
        return True
    return False


DOWN = ModelUnavailable("down")


@pytest.fixture
def a_probe_is_due(breakers, clock):
    """The breaker of model `a` has been open for its time."""
    fail(breakers, DOWN, FAILURES)
    clock.now += SECONDS


@pytest.mark.parametrize(
    "error",
    [DOWN, ModelTimedOut("slow", phase="first_token"), ModelDisconnected("cut"), ModelMalformed("?")],
    ids=lambda error: error.code,
)
def test_failures_in_a_row_open_it_and_the_sentence_says_until_when(breakers, clock, error):
    fail(breakers, error, FAILURES)
    clock.now += 4

    with pytest.raises(ModelCircuitOpen, match=r"openai/a failed 3 times in a row: it is tried again in 6 s") as caught:
        call(breakers)
    assert caught.value.retry_after_seconds == 6
    assert (caught.value.code, caught.value.retryable) == ("model_circuit_open", True)


@pytest.mark.parametrize("error", [ModelRejected("no"), ModelRateLimited("later")], ids=lambda error: error.code)
def test_a_refusal_is_no_failure(breakers, error):
    fail(breakers, error, FAILURES * 3)

    assert not is_open(breakers)


def test_a_success_begins_the_count_anew(breakers):
    for _ in range(4):
        fail(breakers, DOWN, FAILURES - 1)
        call(breakers)

    assert not is_open(breakers)


def test_replies_that_begin_and_break_off_open_it_too(breakers):
    for _ in range(FAILURES):
        with pytest.raises(ModelDisconnected):
            call(breakers, ModelDisconnected("cut"), text=True)

    assert is_open(breakers)


def test_a_model_that_fails_leaves_its_neighbours_alone(breakers):
    fail(breakers, DOWN, FAILURES)

    assert (is_open(breakers, "a"), is_open(breakers, "b")) == (True, False)


@pytest.mark.parametrize(
    "error", [ModelUnreachable("refused"), ModelTimedOut("deaf", phase="connect")], ids=lambda error: error.code
)
def test_a_provider_that_cannot_be_reached_is_closed_for_all_its_models(breakers, error):
    for model in "abc":
        fail(breakers, error, model=model)

    with pytest.raises(ModelCircuitOpen, match="openai could not be reached 3 times in a row"):
        call(breakers, model="d")


@pytest.mark.usefixtures("a_probe_is_due")
def test_one_probe_passes_and_decides(breakers):
    with breakers.watching("a") as probe:
        assert is_open(breakers)
        probe.succeeded()

    assert not is_open(breakers)
    fail(breakers, DOWN, FAILURES - 1)
    assert not is_open(breakers)


@pytest.mark.usefixtures("a_probe_is_due")
def test_a_probe_that_fails_opens_it_for_as_long_again(breakers, clock):
    fail(breakers, DOWN)

    assert is_open(breakers)
    clock.now += SECONDS - 0.1
    assert is_open(breakers)
    clock.now += 0.1
    assert not is_open(breakers)


@pytest.mark.usefixtures("a_probe_is_due")
def test_a_probe_that_its_consumer_ends_makes_room_for_the_next(breakers):
    call(breakers, success=False)

    assert not is_open(breakers)
    fail(breakers, DOWN)
    assert is_open(breakers)


@pytest.mark.usefixtures("a_probe_is_due")
def test_the_first_text_of_a_probe_lets_others_in_but_one_more_failure_opens_again(breakers):
    with breakers.watching("a") as probe:
        probe.answered()
        assert not is_open(breakers)
        fail(breakers, DOWN)
        assert is_open(breakers)


@pytest.mark.usefixtures("a_probe_is_due")
def test_a_former_probe_that_ends_late_lets_nobody_probe_beside_a_newer_one(breakers, clock):
    with breakers.watching("a") as former:
        former.answered()
        fail(breakers, DOWN)
        clock.now += SECONDS
        newer = breakers.watching("a")
        newer.__enter__()

    assert is_open(breakers)
    newer.__exit__(None, None, None)
    assert not is_open(breakers)


@pytest.mark.usefixtures("a_probe_is_due")
def test_a_former_probe_that_fails_late_counts_like_any_other_call(breakers):
    with pytest.raises(ModelUnavailable), breakers.watching("a") as former:
        former.answered()
        call(breakers)
        raise DOWN

    assert not is_open(breakers)
    fail(breakers, DOWN, FAILURES - 1)
    assert is_open(breakers)


def test_late_failures_of_calls_begun_before_it_opened_do_not_prolong_it(breakers, clock):
    with pytest.raises(ModelUnavailable), breakers.watching("a"):
        fail(breakers, DOWN, FAILURES)
        clock.now += SECONDS - 1
        raise DOWN
    clock.now += 1

    assert not is_open(breakers)


def test_zero_failures_means_that_it_never_opens(clock):
    never = Breakers("openai", 0, SECONDS, clock)
    fail(never, DOWN, 100)

    assert not is_open(never)


class BreakerMachine(RuleBasedStateMachine):
    """Calls that overlap in any way, against what is promised of them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(FAILURES, SECONDS, self.clock)
        self.calls: list[int] = []
        self.probe = 0  # which decides
        self.in_a_row = 0
        self.opened_at: float | None = None

    @property
    def is_probed(self) -> bool:
        return self.probe != 0 and self.probe in self.calls

    @precondition(lambda self: self.breaker.wait_seconds() == 0)
    @rule()
    def begin(self) -> None:
        number = self.breaker.enter()
        assert (number > 0) == (self.opened_at is not None)
        assert not number or not self.is_probed, "two probe at once"
        self.probe = number
        self.calls.append(number)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self.breaker.failed(probe=probe)
        if self.opened_at is None:
            self.in_a_row += 1
        if (probe and probe == self.probe) or (self.opened_at is None and self.in_a_row >= FAILURES):
            self.opened_at = self.clock.now

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self.breaker.succeeded()
        self.in_a_row, self.opened_at, self.probe = 0, None, 0

    @precondition(lambda self: self.calls)
    @rule()
    def answer(self) -> None:
        self.breaker.answered()
        if self.opened_at is not None:
            self.in_a_row, self.opened_at, self.probe = FAILURES - 1, None, 0

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        self.breaker.abandoned(probe=self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1))))

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_is_open_for_its_time_and_never_for_good(self) -> None:
        wait = self.breaker.wait_seconds()
        if self.opened_at is None:
            assert wait == 0
        elif self.clock.now < self.opened_at + SECONDS:
            assert wait == self.opened_at + SECONDS - self.clock.now
        else:
            assert (wait > 0) == self.is_probed, "nobody probes, and nobody may, or two may"


TestBreakerMachine = BreakerMachine.TestCase
