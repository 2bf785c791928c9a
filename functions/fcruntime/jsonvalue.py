"""The types of JSON values, and the one way in which a number is read and a compact text is written."""

from __future__ import annotations

import json
import re
from typing import TypeAlias, Union

JsonValue: TypeAlias = Union[bool, int, float, str, "list[JsonValue]", "dict[str, JsonValue]", None]
JsonObject: TypeAlias = "dict[str, JsonValue]"

# `json.dumps` with arguments makes an encoder for each call, which takes as long as encoding a small object. No value
# contains itself, and to look for that takes a quarter of the time.
write_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
"""Return a value as JSON in ASCII without white space. Raises ValueError for NaN and for an infinite number."""

_DIGITS = re.compile(r"([0-9]{1,19})(?:\.0+)?")


def read_whole_number(value: object) -> int | None:
    """Return the whole number that `value` is or is the text of, or None if it is neither.

    `60`, `60.0`, `"60"` and `"60.0"` are 60, because FC writes the same number in several ways.
    """
    if isinstance(value, str):
        found = _DIGITS.fullmatch(value)
        return int(found[1]) if found else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
