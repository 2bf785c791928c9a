"""The log of calls: who called which operation, about what, and with which result. No bodies, no secrets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from alilocal.core.credentials import Credential
from alilocal.core.jsonvalue import read_json, texts

_KEPT = 10_000


@dataclass
class Note:
    """Facts about a call. `keys` are names that the service knows: resources, rows, ids. `mentions` are texts from
    a body."""

    caller: str | None = None
    detail: str = ""
    keys: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)


class Notes(threading.local):
    """The note of the call that the current thread answers. Services fill it; the log reads it."""

    def __init__(self) -> None:
        self.current = Note()

    def begin(self) -> None:
        """Start the note of a new call."""
        self.current = Note()

    def record_caller(self, credential: Credential) -> None:
        """Note the caller: the id of a function's instance, or else the id of the access key."""
        arn = credential.arn
        self.current.caller = arn.rpartition("/")[2] if arn else credential.access_key_id

    def record_keys(self, *keys: str, detail: str | None = None) -> None:
        """Note the names that the call is about, and a `detail` if there is one."""
        self.current.keys.update(keys)
        if detail is not None:
            self.current.detail = detail

    def record_body(self, body: str) -> None:
        """Note the texts that a body mentions, and its type if it is a CloudEvent."""
        value = read_json(body)
        self.current.mentions.update(texts(value))
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            self.current.detail = str(value["type"])


class LoggedRequest(NamedTuple):
    """One call. `status` is None if the caller got no answer; `fault` is the kind of the fault that was applied.

    `caller` is the id of an access key, or of an instance of a function. `keys` are the names that the call is
    about, `mentions` are short texts from its body, and `detail` says in a word what it did.
    """

    service: str
    operation: str
    status: int | None
    code: str | None
    request_id: str
    time: float
    fault: str | None = None
    caller: str | None = None
    detail: str = ""
    keys: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()


class RequestLog:
    """The last 10,000 calls, oldest first: iteration, `len`, `[index]`, `of(operation)`."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_KEPT)
        self.total = 0
        """The number of calls since the cloud was made or reset."""

    def add(self, entry: LoggedRequest) -> None:
        """Add a call."""
        self._entries.append(entry)
        self.total += 1

    def of(self, operation: str) -> list[LoggedRequest]:
        """Return the calls of one operation."""
        return [entry for entry in list(self._entries) if entry.operation == operation]

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> LoggedRequest:
        return self._entries[index]
