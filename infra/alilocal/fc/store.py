"""The functions of a cloud, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alilocal.fc.function import Function, Settings

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud


class Functions:
    """`functions.create(name, handler=..., code=...)`, `functions[name]`, iteration."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._by_name: dict[str, Function] = {}

    def create(self, name: str, *, handler: str, code: str | os.PathLike[str], **settings: Any) -> Function:
        """A function that runs `handler` of the folder `code`; the rest as in `Settings`.

        Raises ValueError for settings that cannot be, and for a name that is taken.
        """
        if name in self._by_name:
            raise ValueError(f"the function {name} is there already")
        made = Function(self._cloud, Settings(name, handler, Path(code), **settings))
        self._by_name[name] = made
        return made

    def delete(self, name: str) -> None:
        """End its instances and forget it; raises KeyError."""
        self._by_name.pop(name).close()

    def recycle(self) -> None:
        """End the idle instances of every function."""
        for function in list(self._by_name.values()):
            function.recycle()

    def close(self) -> None:
        """End all instances."""
        for function in list(self._by_name.values()):
            function.close()

    def __getitem__(self, name: str) -> Function:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Function]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)
