"""What a service tells the log about the call that it is answering: who calls, and what the call is about."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from alilocal.core.credentials import Credential
from alilocal.core.jsonvalue import JsonValue

_LONGEST = 128
_MOST_LEAVES = 200
_SECRET_PARTS = ("secret", "token", "password", "credential", "accesskey", "access_key", "access_id", "url")


@dataclass
class Note:
    """`keys` are names that the service itself knows: resources, rows, ids. `mentions` stand in a body."""

    caller: str | None = None
    detail: str = ""
    keys: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)


class Notes(threading.local):
    """The note of the call that this thread answers."""

    def __init__(self) -> None:
        self.current = Note()

    def begin(self) -> None:
        self.current = Note()

    def called_by(self, credential: Credential) -> None:
        """An instance of a function is told by its id, anyone else by the id of the key."""
        arn = credential.arn
        self.current.caller = arn.rpartition("/")[2] if arn else credential.access_key_id

    def about(self, *keys: str, detail: str | None = None) -> None:
        self.current.keys.update(keys)
        if detail is not None:
            self.current.detail = detail

    def says(self, body: str) -> None:
        """What a body mentions, and of what type it is if it is a CloudEvent."""
        value = read_json(body)
        self.current.mentions.update(texts(value))
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            self.current.detail = str(value["type"])


def read_json(body: str) -> JsonValue:
    """The JSON in `body`, plain or as base64; None if there is none."""
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


@lru_cache(maxsize=512)
def is_secret(name: str) -> bool:
    """Whether the value of a member of that name is to be hidden."""
    plain = name.lower().replace("-", "_")
    return any(part in plain for part in _SECRET_PARTS)


def texts(value: JsonValue) -> Iterator[str]:
    """The short texts of a JSON value, but for those that may be secrets; no more than 200."""
    rest, found = [value], 0
    while rest and found < _MOST_LEAVES:
        one = rest.pop()
        if isinstance(one, str):
            if 0 < len(one) <= _LONGEST:
                found += 1
                yield one
        elif isinstance(one, list):
            rest += one
        elif isinstance(one, dict):
            rest += [item for name, item in one.items() if not is_secret(name)]
