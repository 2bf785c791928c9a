"""Collections that several services share: resources by name, and numbered faults and rate limits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Named(Generic[T]):
    """Resources by name: `[name]`, `in`, `len`, `list()` and iteration, sorted by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, T] = {}

    def list(self) -> Sequence[T]:
        """Return all resources, sorted by name."""
        return [one for _, one in sorted(self._by_name.items())]

    def __getitem__(self, name: str) -> T:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[T]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._by_name)


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
