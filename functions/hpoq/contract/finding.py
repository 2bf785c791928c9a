"""Findings: violations and warnings, lists of them, and the look-ups that rules share."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Container, Iterable
from itertools import islice

from fcruntime.dataclass import dataclass, field, replace
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.errors import Violation

MOST_LISTED = 1000
TRUNCATED = "violations.truncated"
_MOST_COMPARED = 100
_LONGEST_WORD = 60
_SHORTEST_PART = 2
_ALMOST_SAME = 0.92
"""A letter too many or too few in ten. The names of the parts of an access key are less similar."""
NUMBER_OF_JSON = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_ALIKE = "The two differ in characters that look the same or cannot be seen"


@dataclass(frozen=True)
class Finding:
    """A broken rule. It either `rejects` the request or only warns its producer.

    `is_absence` says that something is missing, which may only be misspelt.
    """

    violation: Violation
    rejects: bool
    is_absence: bool = False

    def move_to(self, pointer: str) -> Finding:
        """Return the same finding at another place."""
        return replace(self, violation=replace(self.violation, pointer=pointer))


def rejection(pointer: str, rule: str, message: str) -> Finding:
    """Return the finding for a broken rule that the documentation of the service or of its engine states."""
    return Finding(Violation(pointer, rule, message), rejects=True)


def warning(pointer: str, rule: str, message: str) -> Finding:
    """Return the finding for something that the service may accept and the producer is likely to regret."""
    return Finding(Violation(pointer, rule, message), rejects=False)


def absence(pointer: str, rule: str, message: str) -> Finding:
    """Return the warning about something that is missing."""
    return Finding(Violation(pointer, rule, message), rejects=False, is_absence=True)


@dataclass
class ViolationList:
    """Violations, of which at most MOST_LISTED are kept and the rest are counted.

    A hostile message can break a rule with every byte.
    """

    kept: list[Violation] = field(default_factory=list)
    left_out: int = 0

    def add(self, violation: Violation) -> None:
        if len(self.kept) < MOST_LISTED:
            self.kept.append(violation)
        else:
            self.left_out += 1


def note_truncation(count: int) -> Violation:
    """Return the last violation of a list that leaves out `count` more; its message begins with that number."""
    return Violation("", TRUNCATED, f"{count} more are not listed")


def count_violations(violations: Iterable[Violation]) -> int:
    """Count `violations`, including those that a note on truncation stands for."""
    return sum(int(v.message.split()[0]) if v.rule == TRUNCATED else 1 for v in violations)


class Hints:
    """Suggestions of what misspelt words may mean, for the first words of a document only.

    Comparing words takes long, and a hostile message can misspell one with every few bytes.
    """

    def __init__(self, most: int = 20) -> None:
        self._left = most

    def suggest(self, word: object, known: Iterable[str]) -> str:
        """Return "; did you mean ...?" with the most similar of `known`, or an empty string if none is similar."""
        options = [*islice(known, _MOST_COMPARED)]
        if not isinstance(word, str) or not word or self._left <= 0:
            return ""
        self._left -= 1
        if (part := _find_key_part(word)) is not None:
            return _suggest_key_part(word, part, options)
        import difflib  # needed for misspelt words only

        word = word[:_LONGEST_WORD]
        shown = _drop_invisible(word)
        alike = [one for one in options if one != word and _drop_invisible(one) == shown]
        if alike := [*alike, *(one for one in options if _is_lookalike(shown, one))]:
            return f"; did you mean {alike[0]}? {_ALIKE}"
        spelt = [option for option in options if fold_name(option) == fold_name(word)]
        ending = [option for option in options if _ends_with(word, option) or _ends_with(option, word)]
        longer = [option for option in options if _is_longer(word, option) or _is_longer(option, word)]
        lowered = {option.lower(): option for option in options}
        close = [lowered[found] for found in difflib.get_close_matches(word.lower(), lowered, cutoff=0.66)]
        single = next((found for found in (ending, longer) if len(found) == 1), close)
        hint = next(iter(spelt or single), None)
        return f"; did you mean {hint}?" if hint else ""

    def suggest_member(self, name: str, members: Collection[str], given: Container[str]) -> str:
        """Return what `suggest` does, for a member of an object that may have `members` and has those `given`.

        A member that is missing is suggested before one that is given, unless `name` is almost that of the latter.
        """
        if self._left <= 0:
            return ""
        is_there = _find_almost(name, members) in given
        hint = "" if is_there else self.suggest(name, [member for member in members if member not in given])
        if not hint and (hint := self.suggest(name, members)):
            hint += f"{'' if hint.endswith('?') else '.'} It is there already"
        return hint


def fold_name(name: str) -> str:
    """Return `name` in lower case without separators, so that `max_hours`, `max-hours` and `maxHours` are equal."""
    return re.sub("[ _-]", "", name).lower()


def _find_almost(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that equals `word` except for a letter, the case or separators, or None."""
    import difflib  # needed for misspelt words only

    folded = {fold_name(option): option for option in known}
    found = difflib.get_close_matches(fold_name(word[:_LONGEST_WORD]), folded, cutoff=_ALMOST_SAME)
    return next((folded[one] for one in found), None)


def _drop_invisible(text: str) -> str:
    """Return what a reader sees of `text`: without invisible characters, outer white space and full-width forms."""
    import unicodedata  # needed for misspelt words only

    kept = (
        one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) not in ("Cc", "Cf")
    )
    return "".join(kept).strip()


def _is_lookalike(word: str, other: str) -> bool:
    """Return whether `word` has letters of another script in `other`, as Cyrillic ones look like Latin ones."""
    changed = [one for index, one in enumerate(word) if other[index : index + 1] != one]
    is_alike = len(word) == len(other) and 0 < len(changed) <= len(word) / 2
    return is_alike and not any(map(str.isascii, changed))


def _is_longer(word: str, other: str) -> bool:
    """Return whether `other` and another word make `word`, as random and search make random_search."""
    start, rest = word[: len(other)], word[len(other) :]
    return len(other) > _SHORTEST_PART and start.lower() == other.lower() and not rest[:1].islower()


def _ends_with(word: str, other: str) -> bool:
    """Return whether `other` is the last word of `word`, as best is that of FINAL_MODE_BEST or finalModeBest."""
    rest, end = word[: -len(other)], word[-len(other) :]
    is_word = rest.endswith(("_", "-", ".", " ")) or (rest[-1:].islower() and end[:1].isupper())
    return len(other) > _SHORTEST_PART and end.lower() == other.lower() and is_word


# The sections of a configuration name the two parts of an access key differently: access_key is a secret, and is more
# similar to access_key_id than access_id is.
_KEY_PARTS = {
    "accessid": "id",
    "accesskeyid": "id",
    "accesskey": "secret",
    "accesskeysecret": "secret",
}


def _find_key_part(name: str) -> str | None:
    """Return which part of an access key `name` stands for, or None if it is not the name of one."""
    return _KEY_PARTS.get(fold_name(name))


def _suggest_key_part(word: str, part: str, options: Iterable[str]) -> str:
    parts = {option: found for option in options if (found := _find_key_part(option))}
    meant = [option for option, found in parts.items() if found == part]
    if fold_name(word) == "accesskey" and "access_key" not in parts:
        meant = [*parts]  # the id or the secret
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


# A request causes some forty look-ups, so each of these functions follows the path itself, without a shared helper.


def get_member(value: JsonValue, *names: str) -> JsonValue:
    """Return the value at the path `names`, or None if a member on the way is missing or not an object.

    So rules ignore values of a wrong type, which the models report.
    """
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def get_object(value: JsonValue, *names: str) -> JsonObject:
    """Return the object at the path `names`, or an empty one if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def get_strings(value: JsonValue, *names: str) -> list[tuple[int, str]]:
    """Return the strings in the array at the path `names`, each with its index."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    items = value if isinstance(value, list) else []
    return [(index, item) for index, item in enumerate(items) if isinstance(item, str)]


def get_string(value: JsonValue, *names: str) -> str:
    """Return the string at the path `names`, or an empty one if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def hint_at_quotes(text: str) -> str:
    """Return how to write the number that `text` is, of the pattern NUMBER, or an empty string if none is finite.

    Without its quotes, a number such as .5, 1. or +1 would not be JSON.
    """
    if re.fullmatch(NUMBER_OF_JSON, text.strip()):
        return "; remove the quotes" if math.isfinite(float(text)) else ""
    number = float(text)
    if not math.isfinite(number):
        return ""
    return f"; write {int(number) if number.is_integer() and abs(number) < 2**53 else number} without quotes"


def hint_at_comma(text: JsonValue) -> str:
    """Return how to write a number with a decimal comma, or an empty string. 1,000 may be a thousand as well."""
    found = (
        re.fullmatch(r"\s{0,9}(-?[0-9]{1,15}),([0-9]{1,15})\s{0,9}", text) if isinstance(text, str) else None
    )
    if found is None or (len(found[2]) == 3 and found[1] not in ("0", "-0")):
        return ""
    return f"; write {float(f'{found[1]}.{found[2]}')} without quotes"


def describe_type(value: JsonValue) -> str:
    """Name the JSON type of `value`, with an article, for an error message."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a number" if abs(value) < 2**63 else "a number of more than 64 bits"
    if isinstance(value, float):
        return "a number with a decimal point"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "null"
