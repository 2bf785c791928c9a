"""What a rule says of a request."""

from __future__ import annotations

from dataclasses import dataclass

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.errors import Violation


@dataclass(frozen=True)
class Finding:
    """A violation, and whether it `rejects` the request or only warns its producer."""

    violation: Violation
    rejects: bool


def rejection(pointer: str, rule: str, message: str) -> Finding:
    """A broken rule that the documentation of the service or of its engine states."""
    return Finding(Violation(pointer, rule, message), rejects=True)


def warning(pointer: str, rule: str, message: str) -> Finding:
    """What the service may well take, and the producer is likely to regret."""
    return Finding(Violation(pointer, rule, message), rejects=False)


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
