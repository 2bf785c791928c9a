"""The types of JSON, and how to read, mask and search a JSON body whose form is not known."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias, Union

from alilocal.core.secretnames import is_secret_name

JsonValue: TypeAlias = Union[bool, int, float, str, "list[JsonValue]", "dict[str, JsonValue]", None]
JsonObject: TypeAlias = dict[str, JsonValue]

MASK = "*" * 8
"""What is shown in place of a secret."""

_LONGEST_TEXT = 128
_MOST_TEXTS = 200
_MOST_DIGITS = 18
_URL_PASSWORD = re.compile(r"""(://[^\s/?#"'@:]*:)[^\s/?#"']+@""")
_QUERY = re.compile(r"""(?<=[?&])([\w.\-]+)=[^\s&#"']+""")


def load_json(text: str | bytes) -> Any:
    """Return the value in `text`; raises ValueError, also for NaN, which Python reads, and for too many levels."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it has too many levels") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not part of JSON")


def read_json(body: str) -> JsonValue:
    """Return the JSON object or list in `body`, plain or base64, or None if there is none."""
    text = body.strip()
    try:
        if not text.startswith(("{", "[")):
            text = base64.b64decode(text, validate=True).decode()
        if not text.lstrip().startswith(("{", "[")):
            return None
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def read_whole(text: str, least: int = 0, most: int = 10**18) -> int | None:
    """Return the number that the decimal digits in `text` make, or None unless it is from `least` to `most`.

    `str.isdigit` alone also takes digits that `int` does not, such as a superscript two, and any number of them.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return int(text) if least <= int(text) <= most else None


def mask_secrets(value: JsonValue) -> JsonValue:
    """Return a copy of `value` in which secret members, and secrets in URLs, are asterisks.

    A text that contains JSON, such as the message in the event of a dead letter, is masked as that JSON.
    """
    if isinstance(value, dict):
        return mask_members(value)
    if isinstance(value, list):
        return [mask_secrets(one) for one in value]
    return _mask_text(value) if isinstance(value, str) else value


def _mask_text(text: str) -> str:
    inner = _read_text(text) if text.lstrip().startswith('"') else read_json(text)
    if inner is None:
        return _mask_urls(text)
    masked = mask_secrets(inner)
    return text if masked == inner else json.dumps(masked, ensure_ascii=False)


def _read_text(text: str) -> str | None:
    """Return the text in `text` if it is a JSON string, else None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _mask_urls(text: str) -> str:
    text = _URL_PASSWORD.sub(rf"\1{MASK}@", text)
    return _QUERY.sub(lambda found: f"{found[1]}={MASK}" if is_secret_name(found[1]) else found[0], text)


def mask_members(members: JsonObject) -> JsonObject:
    """Return a copy of `members` in which secret ones, however deep, are asterisks, as `mask_secrets` does."""
    return {
        name: MASK if one is not None and is_secret_name(name) else mask_secrets(one)
        for name, one in members.items()
    }


def texts(value: JsonValue) -> Iterator[str]:
    """Yield up to 200 short texts from `value`, without those of secret members."""
    rest, found = [value], 0
    while rest and found < _MOST_TEXTS:
        one = rest.pop()
        if isinstance(one, str):
            if 0 < len(one) <= _LONGEST_TEXT:
                found += 1
                yield one
        elif isinstance(one, list):
            rest += one
        elif isinstance(one, dict):
            rest += [item for name, item in one.items() if not is_secret_name(name)]
