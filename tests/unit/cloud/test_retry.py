"""When a call is made again, and how long it waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.cloud.retry import RetryPolicy, harmless_to_repeat, surely_not_acted
from hpoq.errors import (
    Answered,
    CallError,
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


class Clock:
    """Time passes only by sleeping."""

    def __init__(self, chance: float = 1.0) -> None:
        self.time = 100.0
        self.slept: list[float] = []
        self.chance = chance

    def now(self) -> float:
        return self.time

    monotonic = now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def new_id(self) -> str:
        return "0"

    def random(self) -> float:
        return self.chance


def made(kind: type[CallError], retry_after: float | None = None) -> CallError:
    return kind("m", service="s", operation="o", retry_after=retry_after)


def run(policy: RetryPolicy, clock: Clock, *script: object, may_retry=harmless_to_repeat, give_up_at=None):
    steps = iter(script)
    tried: list[object] = []

    def attempt() -> object:
        step = next(steps)
        tried.append(step)
        if isinstance(step, CallError):
            raise step
        return step

    try:
        return policy.call(attempt, may_retry=may_retry, clock=clock, give_up_at=give_up_at), tried
    except CallError as exc:
        return exc, tried


def test_until_it_succeeds():
    """A call is repeated until it has a result."""
    got, tried = run(RetryPolicy(), Clock(), made(Throttled), made(Unavailable), "done", "never")
    assert (got, len(tried)) == ("done", 3)


def test_bounded():
    """Attempts are bounded, and the last error is raised."""
    errors = [made(Throttled) for _ in range(9)]
    got, tried = run(RetryPolicy(attempts=4), Clock(), *errors)
    assert got is errors[3]
    assert len(tried) == 4


def test_waits_double_up_to_the_cap():
    """The bound of the wait doubles up to the cap; nothing is waited for after the last attempt."""
    clock = Clock(chance=1.0)
    run(RetryPolicy(attempts=6, base_seconds=1, cap_seconds=5), clock, *[made(Throttled)] * 6)
    assert clock.slept == [1, 2, 4, 5, 5]


@given(chance=st.floats(0, 1, exclude_max=True), attempts=st.integers(1, 8))
def test_full_jitter(chance, attempts):
    """Each wait is the drawn part of its bound, down to nothing."""
    clock = Clock(chance)
    run(RetryPolicy(attempts, base_seconds=1, cap_seconds=4), clock, *[made(Unavailable)] * attempts)
    assert clock.slept == [chance * min(4, 2**n) for n in range(attempts - 1)]


def test_waits_as_told():
    """A wait that the service asks for is kept, with the jitter on top."""
    clock = Clock(chance=0.5)
    run(RetryPolicy(base_seconds=1), clock, made(Throttled, retry_after=7.0), "done")
    assert clock.slept == [7.5]


@pytest.mark.parametrize(("left", "tries"), [(1.0, 1), (1.01, 2)])
def test_never_past_the_end(left, tries):
    """A wait that would not end before the time to give up is not begun."""
    clock = Clock(chance=1.0)
    got, tried = run(RetryPolicy(base_seconds=1), clock, made(Throttled), "done", give_up_at=100.0 + left)
    assert len(tried) == tries
    assert clock.time <= 100.0 + left
    assert isinstance(got, Throttled) == (tries == 1)


REPEATABLE_CREATE = {Throttled, Unavailable}
REPEATABLE_READ = {Throttled, Unavailable, UnknownEnd}
ALL = [
    Answered,
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
def test_predicates(kind):
    """A create is repeated only if the service has surely not acted and may now; a read also if unknown."""
    assert surely_not_acted(made(kind)) == (kind in REPEATABLE_CREATE)
    assert harmless_to_repeat(made(kind)) == (kind in REPEATABLE_READ)


@pytest.mark.parametrize("kind", sorted(set(ALL) - REPEATABLE_READ, key=str))
def test_not_repeated(kind):
    """What the predicate refuses is raised at once."""
    got, tried = run(RetryPolicy(), Clock(), made(kind), "never")
    assert (type(got), len(tried)) == (kind, 1)


@pytest.mark.parametrize("later", [NoTimeLeft, NoCredentials, Unavailable])
def test_unknown_stays_unknown(later):
    """After an attempt with an unknown end, one that was never sent does not make the call *not sent*."""
    unknown = made(UnknownEnd)
    got, _ = run(RetryPolicy(attempts=2), Clock(), unknown, made(later))
    assert got is unknown


def test_answer_after_unknown():
    """After an attempt with an unknown end, the service's answer to the next one counts."""
    got, _ = run(RetryPolicy(), Clock(), made(UnknownEnd), made(NotFound))
    assert isinstance(got, NotFound)


def test_no_attempt():
    """A policy without any attempt is a mistake."""
    with pytest.raises(ValueError, match="at least one"):
        run(RetryPolicy(attempts=0), Clock(), "never")
