"""The standard library's `dataclass`, without code that is compiled for each class.

The standard decorator compiles up to six methods for a class, half a millisecond of a cold start each time. Here all
classes share one set. What `dataclasses` offers for an instance or a class (`replace`, `fields`, `asdict`) works.
Every annotated name is a field: there are no `ClassVar`, `InitVar`, slots and keyword-only fields. Of what `field`
takes, `init`, `compare`, `hash` and `kw_only` are refused.
"""

from __future__ import annotations

import copy
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


@dataclasses.dataclass(init=False, repr=False, eq=False)
class _Standard:
    """What the standard library marks its dataclasses and their fields with."""

    field: object


_MARKS = {name: vars(_Standard)[name] for name in ("__replace__",) if name in vars(_Standard)}
_KIND = _Standard.__dataclass_fields__["field"]._field_type  # type: ignore[attr-defined]  # noqa: SLF001


def _made(members: Mapping[str, object], cls: type[_T]) -> type[_T]:
    fields: dict[str, Field[object]] = {}
    for base in reversed(cls.__mro__[1:]):
        fields |= getattr(base, "__dataclass_fields__", {})
    fields |= {name: _field(cls, name, kind) for name, kind in vars(cls).get("__annotations__", {}).items()}
    own = {**_MARKS, "__dataclass_fields__": fields, "__match_args__": tuple(fields)}
    for name, member in own.items():
        setattr(cls, name, member)
    # Python gives a class that has `__eq__` a `__hash__` of None, which is not the class's own word.
    implied = {"__hash__"} if "__eq__" in vars(cls) and vars(cls).get("__hash__") is None else set()
    for name, member in members.items():
        if name not in vars(cls) or name in implied:
            setattr(cls, name, member)
    return cls


def _params(*, frozen: bool) -> object:
    """What the standard decorator asks of a base, for a class that is made by it."""
    made = copy.copy(vars(_Standard)["__dataclass_params__"])
    made.init = made.repr = made.eq = True
    made.frozen = frozen
    return made


def _field(cls: type, name: str, annotation: type) -> Field[object]:
    given = vars(cls).get(name, MISSING)
    made: Field[object] = given if isinstance(given, Field) else field(default=given)
    if type(made.default).__hash__ is None:
        raise ValueError(
            f"{cls.__name__}.{name}: instances would share a mutable default; use default_factory"
        )
    if not (made.init and made.compare and made.hash is None and made.kw_only in (MISSING, False)):
        raise TypeError(f"{cls.__name__}.{name}: init, compare, hash and kw_only are not to be had here")
    made.name, made.type, made.kw_only = name, annotation, False
    made._field_type = _KIND  # type: ignore[attr-defined]  # noqa: SLF001
    if made is given:
        if made.default is MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, made.default)
    return made


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
    "__dataclass_params__": _params(frozen=False),
    "__init__": _init,
    "__signature__": _Signature(),
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": None,
}
_FROZEN = {
    **_SHARED,
    "__dataclass_params__": _params(frozen=True),
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
}
