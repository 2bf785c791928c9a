"""Resources by name: what the queues, topics and event buses of a cloud have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
