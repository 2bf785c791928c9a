"""RAM policies: whether a caller has a permission.

Structure and evaluation: https://www.alibabacloud.com/help/en/ram/user-guide/policy-structure-and-syntax and
https://www.alibabacloud.com/help/en/ram/user-guide/policy-evaluation-process: a Deny wins, otherwise an Allow is
needed. Conditions are not evaluated here, so a policy with a condition is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from alilocal.core.jsonvalue import JsonValue

_MEMBERS = frozenset({"Effect", "Action", "NotAction", "Resource", "Condition", "Sid"})


class BadPolicy(ValueError):
    """An invalid policy document; `place` is where it is invalid, for example `Statement[0].Action`."""

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"{place}: {problem}")


@dataclass(frozen=True)
class Permission:
    """What a call needs: one of `actions`, such as `mns:SendMessage`, on all of `resources`.

    For some operations the documentation does not say which of two actions is checked; they have both.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One rule. An `inverted` rule concerns all actions except those listed."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    inverted: bool = False

    def concerns(self, action: str, resource: str) -> bool:
        """Return whether the rule applies to `action` on `resource`."""
        # RAM compares actions without regard to case, and resources with regard to it.
        named = any(_matches(pattern.lower(), action.lower()) for pattern in self.actions)
        return named != self.inverted and any(_matches(pattern, resource) for pattern in self.resources)


@dataclass(frozen=True)
class Policy:
    """The rules of one document."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, document: Mapping[str, JsonValue]) -> Policy:
        """Read a document `{"Version": "1", "Statement": [...]}`; raises BadPolicy."""
        if document.get("Version") != "1":
            raise BadPolicy("Version", 'must be "1"')
        statements = document.get("Statement")
        if not isinstance(statements, list):
            raise BadPolicy("Statement", "must be a list")
        return cls(tuple(_statement(one, f"Statement[{index}]") for index, one in enumerate(statements)))


def permits(policies: Sequence[Policy], permission: Permission) -> bool:
    """Return whether `policies` together grant `permission`."""
    statements = [statement for policy in policies for statement in policy.statements]
    return all(_permits(statements, permission.actions, resource) for resource in permission.resources)


def forbids(policies: Sequence[Policy], permission: Permission) -> bool:
    """Return whether a Deny in `policies` forbids `permission`, as opposed to the lack of an Allow."""
    denials = [one for policy in policies for one in policy.statements if not one.allows]
    return any(
        one.concerns(action, resource)
        for one in denials
        for action in permission.actions
        for resource in permission.resources
    )


def _permits(statements: Sequence[Statement], actions: Sequence[str], resource: str) -> bool:
    found = [one for one in statements if any(one.concerns(action, resource) for action in actions)]
    return bool(found) and all(one.allows for one in found)


def _statement(document: JsonValue, place: str) -> Statement:
    if not isinstance(document, dict):
        raise BadPolicy(place, "must be an object")
    unknown = sorted(set(document) - _MEMBERS)
    if unknown:
        raise BadPolicy(f"{place}.{unknown[0]}", "is not a member of a statement")
    if document.get("Condition"):
        raise BadPolicy(f"{place}.Condition", "conditions are not evaluated by the local cloud")
    if document.get("Effect") not in ("Allow", "Deny"):
        raise BadPolicy(f"{place}.Effect", "must be Allow or Deny")
    inverted = "NotAction" in document
    if inverted == ("Action" in document):
        raise BadPolicy(place, "needs either Action or NotAction")
    name = "NotAction" if inverted else "Action"
    return Statement(
        document["Effect"] == "Allow",
        _texts(document[name], f"{place}.{name}"),
        _texts(document.get("Resource"), f"{place}.Resource"),
        inverted,
    )


def _texts(value: JsonValue, place: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise BadPolicy(place, "must be a string or a list of strings")
    checked = tuple(one for one in texts if isinstance(one, str) and one)
    if len(checked) != len(texts):
        raise BadPolicy(place, "must be a string or a list of strings")
    return checked


def _matches(pattern: str, text: str) -> bool:
    return _compile_pattern(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.compile("".join(parts), re.DOTALL)
