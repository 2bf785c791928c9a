"""What was called, without bodies and without anything secret."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

_KEPT = 10_000


class LoggedRequest(NamedTuple):
    """One call. `status` is None if its caller got no answer; `fault` names the fault that struck it.

    `caller` is the id of an access key, or of the instance of a function. `keys` are the names of what it is about,
    `mentions` short texts of what it brought, `detail` a word on what it did.
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
    """The newest calls, oldest first; the last 10,000 are kept."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_KEPT)
        self.total = 0
        """How many calls there were in all."""

    def add(self, entry: LoggedRequest) -> None:
        self._entries.append(entry)
        self.total += 1

    def of(self, operation: str) -> list[LoggedRequest]:
        """Those of one operation."""
        return [entry for entry in list(self._entries) if entry.operation == operation]

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> LoggedRequest:
        return self._entries[index]
