"""The standard library's `dataclass`, with one method that is compiled per class instead of six.

The standard decorator compiles up to six methods for every class, which costs about half a millisecond of a cold
start each time: 15 to 20 ms of 141 ms for the classes of hpoq and fcruntime. Here all classes share one set of
methods, which get the names of the fields from their class. Only `__init__` is compiled, with the first instance.
What `dataclasses` offers for an instance or a class (`replace`, `fields`, `asdict`, `is_dataclass`) works as usual,
and so do `copy`, `pickle` and `match`; the `replace` of this module does the same in a tenth of the time.

What is not supported is refused with a TypeError when the class is made: `ClassVar`, `InitVar` and `KW_ONLY`
annotations, and of the options of `field` `init`, `compare`, `hash` and `kw_only`. `slots` and the other options of
the decorator do not exist. The module is not part of the public interface: it can change with any release.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

__all__ = ["dataclass", "field", "replace"]

_T = TypeVar("_T")

if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:

    def dataclass(cls: type[_T] | None = None, *, frozen: bool = False) -> object:
        """Make a dataclass of `cls`. Methods that the class defines itself stay as they are."""
        members = _FROZEN if frozen else _SHARED
        return partial(_add_members, members) if cls is None else _add_members(members, cls)

    def replace(instance: _T, /, **changes: object) -> _T:
        """Return a copy of `instance` with `changes`, as `dataclasses.replace` does, but in a tenth of its time."""
        cls = type(instance)
        made = cls.__new__(cls)
        made.__dict__.update(instance.__dict__, **changes)
        # The standard library refuses an unknown field, checks the fields of a class that does so, and copies no
        # cached properties.
        if len(made.__dict__) != len(cls.__dataclass_fields__) or hasattr(cls, "__post_init__"):
            return dataclasses.replace(instance, **changes)
        return made


@dataclasses.dataclass(init=False, repr=False, eq=False)
class _Standard:
    """A class of the standard decorator, whose marks are copied to the classes made here."""

    field: object


_MARKS = {name: vars(_Standard)[name] for name in ("__replace__",) if name in vars(_Standard)}
_KIND = _Standard.__dataclass_fields__["field"]._field_type  # type: ignore[attr-defined]  # noqa: SLF001
_UNSUPPORTED = ("ClassVar", "InitVar", "KW_ONLY")


def _add_members(members: Mapping[str, object], cls: type[_T]) -> type[_T]:
    fields: dict[str, Field[object]] = {}
    for base in reversed(cls.__mro__[1:]):
        fields |= getattr(base, "__dataclass_fields__", {})
    fields |= {name: _make_field(cls, name, kind) for name, kind in _read_annotations(cls).items()}
    _check_order(cls, fields)
    own = {**_MARKS, "__dataclass_fields__": fields, "__match_args__": tuple(fields)}
    members = {**members, "__init__": _make_init(cls, fields)}
    for name, member in own.items():
        setattr(cls, name, member)
    # Python gives a class that defines `__eq__` a `__hash__` of None, which the class did not ask for.
    implied = {"__hash__"} if "__eq__" in vars(cls) and vars(cls).get("__hash__") is None else set()
    for name, member in members.items():
        if name not in vars(cls) or name in implied:
            setattr(cls, name, member)
    return cls


def _read_annotations(cls: type) -> Mapping[str, object]:
    """Return the annotations of the class itself, without those of its bases.

    Up to Python 3.13, and later under `from __future__ import annotations`, they are in the class's namespace. From
    Python 3.14 on (PEP 649) a class without that import has a function there that computes them. Their values are
    not needed, so names that are not defined yet must not fail.
    """
    own: Mapping[str, object] | None = vars(cls).get("__annotations__")
    if own is None and sys.version_info >= (3, 14):
        import annotationlib  # imported late, because most cold starts do not need it

        own = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return own or {}


def _check_order(cls: type, fields: Mapping[str, Field[object]]) -> None:
    """Refuse a field without a default after one with a default, which could never be left out."""
    optional = None
    for name, one in fields.items():
        if one.default is not MISSING or one.default_factory is not MISSING:
            optional = name
        elif optional is not None:
            raise TypeError(f"{cls.__name__}.{name} has no default, but {optional} before it has one")


def _params(*, frozen: bool) -> object:
    """Return the parameters that the standard decorator checks if one of its classes derives from ours."""
    made = copy.copy(vars(_Standard)["__dataclass_params__"])
    made.init = made.repr = made.eq = True
    made.frozen = frozen
    return made


def _make_field(cls: type, name: str, annotation: object) -> Field[object]:
    if any(word in str(annotation) for word in _UNSUPPORTED):
        raise TypeError(f"{cls.__name__}.{name}: {annotation} is not supported here")
    given = vars(cls).get(name, MISSING)
    made: Field[object] = given if isinstance(given, Field) else field(default=given)
    if type(made.default).__hash__ is None:
        raise ValueError(
            f"{cls.__name__}.{name}: instances would share a mutable default; use default_factory"
        )
    if not (made.init and made.compare and made.hash is None and made.kw_only in (MISSING, False)):
        raise TypeError(f"{cls.__name__}.{name}: init, compare, hash and kw_only are not supported here")
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


def _make_init(cls: type, fields: dict[str, Field[object]]) -> Callable[..., None]:
    """Return an `__init__` that compiles one for the class on first use and replaces itself by it.

    Code for the fields of one class takes 0.4 us for an instance, code for any fields 1.1 us. A message makes about
    fifty instances, of the forty classes that are ever used.
    """
    compiled: list[Callable[..., None]] = []

    def __init__(self: object, /, *args: object, **kwargs: object) -> None:  # noqa: N807
        if not compiled:
            compiled.append(_compile_init(cls, fields))
            if vars(cls)["__init__"] is __init__:  # unless it was wrapped meanwhile
                cls.__init__ = compiled[0]  # type: ignore[misc]
        compiled[0](self, *args, **kwargs)

    return __init__


def _compile_init(cls: type, fields: dict[str, Field[object]]) -> Callable[..., None]:
    given: dict[str, object] = {"_missing_": MISSING}
    parameters, lines = ["_self_"], ["_values_ = _self_.__dict__"]
    for name, one in fields.items():
        value = name
        if one.default is not MISSING:
            given[f"_default_{name}"] = one.default
            parameters.append(f"{name}=_default_{name}")
        elif one.default_factory is not MISSING:
            given[f"_make_{name}"] = one.default_factory
            parameters.append(f"{name}=_missing_")
            value = f"_make_{name}() if {name} is _missing_ else {name}"
        else:
            parameters.append(name)
        # Written to the dictionary directly, because a frozen class refuses setattr.
        lines.append(f"_values_[{name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("_self_.__post_init__()")
    body = "\n ".join(lines)
    exec(f"def __init__({', '.join(parameters)}):\n {body}", given)  # noqa: S102 - only names of fields are in it
    made: Callable[..., None] = given["__init__"]  # type: ignore[assignment]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _repr(self: object) -> str:
    cls = type(self)
    shown = (f"{name}={getattr(self, name)!r}" for name, one in _fields(cls).items() if one.repr)
    return f"{cls.__qualname__}({', '.join(shown)})"


def _eq(self: object, other: object) -> object:
    if type(other) is not type(self):
        return NotImplemented
    names = _fields(type(self))
    mine, others = self.__dict__, other.__dict__
    return tuple(map(mine.__getitem__, names)) == tuple(map(others.__getitem__, names))


def _hash(self: object) -> int:
    return hash(tuple(map(self.__dict__.__getitem__, _fields(type(self)))))


def _refuse(self: object, name: str, *_: object) -> None:
    raise FrozenInstanceError(f"cannot change {type(self).__name__}.{name}")


class _Signature:
    """The signature that `help` and others see, computed when it is asked for."""

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
