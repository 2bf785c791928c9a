"""The standard library's `dataclass`, without code that is compiled for each class.

The standard decorator compiles up to six methods for a class, half a millisecond of a cold start each time. Here all
classes share one set. What `dataclasses` offers for an instance or a class (`replace`, `fields`, `asdict`) works.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

__all__ = ["dataclass", "field"]

_T = TypeVar("_T")

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type[_T] | None = None, *, frozen: bool = False) -> object:
        """Make a dataclass. Methods that the class has of its own stay as they are."""
        members = _FROZEN if frozen else _SHARED
        return partial(_made, members) if cls is None else _made(members, cls)


def _made(members: Mapping[str, object], cls: type[_T]) -> type[_T]:
    cls = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    for name, member in members.items():
        if name not in vars(cls):
            setattr(cls, name, member)
    return cls


def _fields(cls: type) -> dict[str, Field[object]]:
    fields: dict[str, Field[object]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return fields


def _init(self: object, *args: object, **kwargs: object) -> None:
    cls = type(self)
    fields, values = _fields(cls), self.__dict__
    if len(args) > len(fields):
        raise TypeError(f"{cls.__name__}() takes {len(fields)} arguments, not {len(args)}")
    # A loop with setattr would be refused, as every change is.
    values.update(zip(fields, args, strict=False))
    for name, value in kwargs.items():
        if name not in fields:
            raise TypeError(f"{cls.__name__}() has no argument {name!r}")
        if name in values:
            raise TypeError(f"{cls.__name__}() got {name!r} twice")
        values[name] = value
    if len(values) < len(fields):
        _fill(cls, fields, values)
    after: Callable[[], None] | None = getattr(self, "__post_init__", None)
    if after is not None:
        after()


def _fill(cls: type, fields: dict[str, Field[object]], values: dict[str, object]) -> None:
    for name, one in fields.items():
        if name in values:
            continue
        if one.default is not MISSING:
            values[name] = one.default
        elif one.default_factory is not MISSING:
            values[name] = one.default_factory()
        else:
            raise TypeError(f"{cls.__name__}() needs the argument {name!r}")


def _repr(self: object) -> str:
    cls = type(self)
    shown = (f"{name}={getattr(self, name)!r}" for name, one in _fields(cls).items() if one.repr)
    return f"{cls.__qualname__}({', '.join(shown)})"


def _values(self: object) -> tuple[object, ...]:
    return tuple(map(self.__dict__.__getitem__, _fields(type(self))))


def _eq(self: object, other: object) -> object:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: object) -> int:
    return hash(_values(self))


def _refuse(self: object, name: str, *_: object) -> None:
    raise FrozenInstanceError(f"cannot change {type(self).__name__}.{name}")


class _Signature:
    """The signature that `help` and others see, told when it is asked for."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        parameters = []
        for name, one in _fields(owner).items():
            required = one.default is MISSING and one.default_factory is MISSING
            default = inspect.Parameter.empty if required else one.default
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
            )
        return inspect.Signature(parameters)


_SHARED: Mapping[str, object] = {
    "__init__": _init,
    "__signature__": _Signature(),
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": None,
}
_FROZEN = {**_SHARED, "__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse}
