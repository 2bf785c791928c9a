"""When a call is made again, and how long it waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.clock import Budget
from hpoq.cloud.caller import NO_ACTION, TRANSIENT, RetryPolicy
from hpoq.errors import (
    Answered,
    CallError,
    ClockOff,
    Conflict,
    Denied,
    Invalid,
    NoCredentials,
    NotFound,
    NoTimeLeft,
    NotSent,
    Throttled,
    Unavailable,
    UnknownEnd,
)
from hpoq.observability.measures import Measures, collect_into
from support.clock import FixedChanceClock


def made(kind: type[CallError], retry_after: float | None = None) -> CallError:
    return kind("m", service="s", operation="o", retry_after=retry_after)


def run(
    policy: RetryPolicy,
    clock: FixedChanceClock,
    *script: object,
    retry_on=TRANSIENT,
    budget=None,
):
    steps = iter(script)
    tried: list[object] = []

    retries = policy.start(budget or Budget(clock), retry_on)
    for step in steps:
        tried.append(step)
        if not isinstance(step, CallError):
            return step, tried
        try:
            retries.wait_or_raise(step)
        except CallError as exc:
            return exc, tried
    raise AssertionError("the script is too short")


def test_until_it_succeeds():
    """A call is repeated until it has a result."""
    got, tried = run(RetryPolicy(), FixedChanceClock(), made(Throttled), made(Unavailable), "done", "never")
    assert (got, len(tried)) == ("done", 3)


def test_the_policy_of_a_client_that_is_given_none():
    """Four tries, with waits of up to 0.2 s that double up to 5 s."""
    clock = FixedChanceClock(chance=1.0)
    run(RetryPolicy(), clock, *[made(Throttled)] * 9)
    assert clock.slept == pytest.approx([0.2, 0.4, 0.8])
    run(RetryPolicy(attempts=7), clock, *[made(Throttled)] * 9)
    assert clock.slept[-2:] == pytest.approx([3.2, 5.0])


def test_repetitions_are_counted():
    """The measures of an invocation show how many calls were made again."""
    measures = Measures()
    with collect_into(measures):
        run(RetryPolicy(attempts=3), FixedChanceClock(), *[made(Throttled)] * 3)
    assert measures.counts == {"retries": 2}


def test_bounded():
    """Attempts are bounded, and the last error is raised."""
    errors = [made(Throttled) for _ in range(9)]
    got, tried = run(RetryPolicy(attempts=4), FixedChanceClock(), *errors)
    assert got is errors[3]
    assert len(tried) == 4


def test_waits_double_up_to_the_cap():
    """The bound of the wait doubles up to the cap; nothing is waited for after the last attempt."""
    clock = FixedChanceClock(chance=1.0)
    run(RetryPolicy(attempts=6, base_seconds=1, cap_seconds=5), clock, *[made(Throttled)] * 6)
    assert clock.slept == [1, 2, 4, 5, 5]


@given(chance=st.floats(0, 1, exclude_max=True), attempts=st.integers(1, 8))
def test_full_jitter(chance, attempts):
    """Each wait is the drawn part of its bound, down to nothing."""
    clock = FixedChanceClock(chance=chance)
    run(RetryPolicy(attempts, base_seconds=1, cap_seconds=4), clock, *[made(Unavailable)] * attempts)
    assert clock.slept == [chance * min(4, 2**n) for n in range(attempts - 1)]


def test_waits_as_long_as_the_service_asks():
    """A wait that the service asks for is kept, with the jitter on top."""
    clock = FixedChanceClock(chance=0.5)
    run(RetryPolicy(base_seconds=1), clock, made(Throttled, retry_after=7.0), "done")
    assert clock.slept == [7.5]


@pytest.mark.parametrize(("left", "tries"), [(1.0, 1), (1.01, 1), (1.25, 1), (1.26, 2)])
def test_never_past_the_end(left, tries):
    """A wait after which too little time would be left for another try is not begun: the error is the service's."""
    clock = FixedChanceClock(chance=1.0)
    ends_at = clock.monotonic() + left
    got, tried = run(
        RetryPolicy(base_seconds=1), clock, made(Throttled), "done", budget=Budget(clock, ends_at)
    )
    assert len(tried) == tries
    assert clock.monotonic() <= ends_at
    assert isinstance(got, Throttled) == (tries == 1)


REPEATABLE_SEND = {Throttled, Unavailable}
REPEATABLE_READ = {Throttled, Unavailable, UnknownEnd}
ALL = [
    Answered,
    ClockOff,
    Conflict,
    Denied,
    Invalid,
    NoCredentials,
    NoTimeLeft,
    NotFound,
    NotSent,
    Throttled,
    Unavailable,
    UnknownEnd,
]


@pytest.mark.parametrize("kind", ALL)
def test_which_calls_are_repeated(kind):
    """A message is sent again if it was not sent or was throttled, a read also if its end is unknown."""
    assert isinstance(made(kind), NO_ACTION) == (kind in REPEATABLE_SEND)
    assert isinstance(made(kind), TRANSIENT) == (kind in REPEATABLE_READ)


@pytest.mark.parametrize("kind", sorted(set(ALL) - REPEATABLE_READ, key=str))
def test_not_repeated(kind):
    """What the predicate refuses is raised at once."""
    got, tried = run(RetryPolicy(), FixedChanceClock(), made(kind), "never")
    assert (type(got), len(tried)) == (kind, 1)


@pytest.mark.parametrize("later", [NoTimeLeft, NoCredentials, Unavailable])
def test_unknown_stays_unknown(later):
    """After an attempt with an unknown end, one that was never sent does not make the call *not sent*."""
    unknown = made(UnknownEnd)
    got, _ = run(RetryPolicy(attempts=2), FixedChanceClock(), unknown, made(later))
    assert got is unknown


def test_answer_after_unknown():
    """After an attempt with an unknown end, the service's answer to the next one counts."""
    got, _ = run(RetryPolicy(), FixedChanceClock(), made(UnknownEnd), made(NotFound))
    assert isinstance(got, NotFound)


def test_no_attempt():
    """A policy without any attempt is a mistake."""
    with pytest.raises(ValueError, match="at least one"):
        run(RetryPolicy(attempts=0), FixedChanceClock(), "never")
