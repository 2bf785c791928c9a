"""What a rule says of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.errors import Violation


@dataclass(frozen=True)
class Finding:
    """A violation, and whether it `rejects` the request or only warns its producer."""

    violation: Violation
    rejects: bool

    def placed(self, pointer: str) -> Finding:
        """The same, at another place."""
        return replace(self, violation=replace(self.violation, pointer=pointer))


def rejection(pointer: str, rule: str, message: str) -> Finding:
    """A broken rule that the documentation of the service or of its engine states."""
    return Finding(Violation(pointer, rule, message), rejects=True)


def warning(pointer: str, rule: str, message: str) -> Finding:
    """What the service may well take, and the producer is likely to regret."""
    return Finding(Violation(pointer, rule, message), rejects=False)


MOST_LISTED = 1000
TRUNCATED = "violations.truncated"


@dataclass
class Listing:
    """Violations; those beyond MOST_LISTED are only counted, for a hostile message can break a rule with
    every byte."""

    kept: list[Violation] = field(default_factory=list)
    left_out: int = 0

    def add(self, violation: Violation) -> None:
        if len(self.kept) < MOST_LISTED:
            self.kept.append(violation)
        else:
            self.left_out += 1

    def arranged(
        self, place: Callable[[Violation], Violation], order: Callable[[Violation], tuple[int, ...]]
    ) -> tuple[Violation, ...]:
        """Those kept, each moved by `place` and sorted by `order`, and a last one that counts the others."""
        listed = sorted((place(violation) for violation in self.kept), key=order)
        return (*listed, truncated(self.left_out)) if self.left_out else tuple(listed)


def truncated(count: int) -> Violation:
    """The last violation of a list that leaves out `count` more."""
    return Violation("", TRUNCATED, f"{count} more are not listed")


def counted(violations: Iterable[Violation]) -> int:
    """How many violations a list stands for, those that it left out included."""
    return sum(int(v.message.split()[0]) if v.rule == TRUNCATED else 1 for v in violations)


def member(value: JsonValue, *names: str) -> JsonValue:
    """The value under `names`, None where any of them is missing: rules pass over what has no such place."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def obj(value: JsonValue, *names: str) -> JsonObject:
    """As `member`, for an object; empty where there is none."""
    found = member(value, *names)
    return found if isinstance(found, dict) else {}


def texts(value: JsonValue, *names: str) -> list[tuple[int, str]]:
    """The texts of the array under `names`, each with its index."""
    found = member(value, *names)
    items = found if isinstance(found, list) else []
    return [(index, item) for index, item in enumerate(items) if isinstance(item, str)]


def text(value: JsonValue, *names: str) -> str:
    """The text under `names`, empty where there is none."""
    found = member(value, *names)
    return found if isinstance(found, str) else ""


def sort_of(value: JsonValue) -> str:
    """What `value` is, in the words of JSON."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a number" if abs(value) < 2**63 else "a number of that size"
    if isinstance(value, float):
        return "a number with a decimal point"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "null"
