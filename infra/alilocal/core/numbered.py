"""What the faults and the rate limits of a cloud have in common: a number, and the operations that they concern."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Numbered(Generic[T]):
    """Items, oldest first, each with a number that it keeps. `known` are the operations of each service."""

    def __init__(self, known: Mapping[str, Collection[str]]) -> None:
        self._known = known
        self._items: dict[int, T] = {}
        self._next = itertools.count(1)
        self._lock = threading.Lock()

    def list(self) -> list[T]:
        """Return all items."""
        with self._lock:
            return list(self._items.values())

    def numbered(self) -> Sequence[tuple[int, T]]:
        """Return all items with their numbers."""
        with self._lock:
            return list(self._items.items())

    def remove(self, number: int) -> bool:
        """Remove an item by its number, and return False if there is none."""
        with self._lock:
            return self._items.pop(number, None) is not None

    def clear(self) -> None:
        """Remove all items."""
        with self._lock:
            self._items.clear()

    def restore(self, items: Sequence[T]) -> None:
        """Replace all items."""
        with self._lock:
            self._items = {next(self._next): item for item in items}

    def _append(self, item: T) -> None:
        with self._lock:
            self._items[next(self._next)] = item

    def _check_known(self, service: str | None, operation: str | None) -> None:
        """Raise ValueError for a service or an operation that does not exist; None stands for any."""
        if service is not None and service not in self._known:
            raise ValueError(f"no such service: {service}. Known services: {', '.join(self._known)}")
        candidates = self._known.values() if service is None else (self._known[service],)
        if operation is not None and not any(operation in names for names in candidates):
            raise ValueError(f"no such operation: {operation}")
