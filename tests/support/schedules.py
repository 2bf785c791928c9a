"""Random schedules: calls of the rules of a machine, in an order and with arguments that a seed chooses.

A machine is a class with a method `begin`, methods that are rules, `find_broken`, which returns what breaks an
invariant so far, and `end`, which raises an `AssertionError` if something is broken in the end. Unlike a machine of
hypothesis, one of these runs the schedule of any seed by itself, so that many can be run and found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

Choice = Callable[[Random], object]
"""Chooses an argument of a rule."""


def sampled_from(values: Sequence) -> Choice:
    return lambda source: source.choice(values)


def booleans() -> Choice:
    return sampled_from([False, True])


def integers(least: int, most: int) -> Choice:
    return lambda source: source.randint(least, most)


def tuples(*parts: Choice) -> Choice:
    return lambda source: tuple(part(source) for part in parts)


def lists(part: Choice, *, min_size: int, max_size: int) -> Choice:
    return lambda source: [part(source) for _ in range(source.randint(min_size, max_size))]


def rule(**choices: Choice) -> Callable:
    """Make a method a rule of its machine, and say how its arguments are chosen."""

    def decorate(method: Callable) -> Callable:
        method.choices = choices  # type: ignore[attr-defined]
        return method

    return decorate


@dataclass(frozen=True)
class Schedule:
    """The calls of a machine, each the name of a method with its arguments; the first is `begin`."""

    machine: type
    calls: list[tuple[str, dict]]

    def find_broken(self) -> Exception | None:
        """Run the schedule; return what broke, or None if every invariant holds after each call and in the end."""
        machine = self.machine()
        try:
            for name, arguments in self.calls:
                getattr(machine, name)(**arguments)
                broken = machine.find_broken()
                assert broken == [], broken
            machine.end()
        except Exception as exc:  # noqa: BLE001 - what a broken product raises is not known
            return exc
        return None

    def shorten(self) -> tuple[Schedule, Exception]:
        """Leave out each call without which something still breaks; return that schedule, and what breaks."""
        shortest, error = self, self.find_broken()
        assert error is not None
        for call in reversed(self.calls[1:]):
            shorter = replace(shortest, calls=[one for one in shortest.calls if one is not call])
            found = shorter.find_broken()
            if found is not None:
                shortest, error = shorter, found
        return shortest, error

    def __str__(self) -> str:
        lines = [f"machine = {self.machine.__name__}()"]
        for name, arguments in self.calls:
            given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            lines.append(f"machine.{name}({given})")
        return "\n".join([*lines, "machine.end()"])


def draw_schedule(seed: int, machines: Sequence[type], steps: int) -> Schedule:
    """Return the schedule of `seed`: one of `machines`, and up to `steps` calls of some of its rules."""
    source = Random(seed)
    machine = source.choice(machines)
    rules = [name for name in dir(machine) if hasattr(getattr(machine, name), "choices") and name != "begin"]
    # Of few rules each is called often, as in a schedule of many faults of one kind.
    some = source.sample(rules, source.randint(1, len(rules)))
    names = ["begin", *source.choices(some, k=source.randint(1, steps))]
    calls = []
    for name in names:
        choices = getattr(machine, name).choices
        calls.append((name, {argument: choose(source) for argument, choose in choices.items()}))
    return Schedule(machine, calls)


def check_schedules(seeds: Iterable[int], machines: Sequence[type], steps: int) -> None:
    """Run the schedules of `seeds`; raise an AssertionError that shows the first one that breaks something."""
    for seed in seeds:
        schedule = draw_schedule(seed, machines, steps)
        if schedule.find_broken() is not None:
            shortest, error = schedule.shorten()
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{shortest}") from error
