"""State as JSON and back, guided by the types of dataclass fields.

A field whose metadata is `TRANSIENT` is left out and must be supplied when the state is loaded, for example a
reference to the clock.
"""

from __future__ import annotations

import base64
import collections.abc
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue

T = TypeVar("T")

TRANSIENT = {"alilocal": "transient"}
"""The metadata of a field that snapshots leave out."""
_BYTES = "base64"


class _Json:
    """Represents the type of a value that is JSON already."""


class _Object:
    """Represents the type of an object that is JSON already."""


_VALUES, _OBJECTS = (_Json, JsonValue), (_Object, JsonObject)


class BadSnapshot(ValueError):
    """An invalid snapshot; `place` is where it is invalid, for example `queues[0].name`."""

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"{place or 'snapshot'}: {problem}")


def dump(value: object, hint: object = None) -> JsonValue:
    """Return `value` as JSON; `hint` is its type, by default its class."""
    return _dump(type(value) if hint is None else hint, value)


def load(hint: type[T], document: JsonValue, place: str = "", **transients: object) -> T:
    """Return the value of type `hint` from which `dump` made `document`; raises BadSnapshot.

    `transients` are the values of transient fields, by name.
    """
    return cast("T", _Reader(transients).read(hint, document, place))


def member(document: JsonObject, name: str, place: str = "") -> JsonValue:
    """Return a required member; raises BadSnapshot if it is missing."""
    if name not in document:
        raise BadSnapshot(place, f"{name!r} is missing")
    return document[name]


def _dump(hint: object, value: Any) -> JsonValue:
    if value is None or hint in (*_VALUES, *_OBJECTS):
        return cast("JsonValue", value)
    if isinstance(value, Enum):
        return cast("JsonValue", value.value)
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if is_dataclass(value):
        kind: type = type(value)
        return {one.name: _dump(_hints(kind)[one.name], getattr(value, one.name)) for one in _kept(kind)}
    hint = _unwrap_optional(hint)
    if isinstance(value, Mapping):
        key, item = get_args(hint)
        if key is str:
            return {name: _dump(item, one) for name, one in value.items()}
        return [[_dump(key, name), _dump(item, one)] for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [_dump(_item(hint, index), one) for index, one in enumerate(value)]
    return cast("JsonValue", value)


def _item(hint: object, index: int) -> object:
    """Return the type of an item of a list or tuple."""
    arguments = get_args(hint)
    return arguments[0] if len(arguments) == 1 or arguments[-1] is Ellipsis else arguments[index]


def _unwrap_optional(hint: object) -> object:
    """Return the type inside an optional type."""
    if get_origin(hint) in (Union, types.UnionType):
        some = [one for one in get_args(hint) if one is not type(None)]
        return some[0] if len(some) == 1 else hint
    return hint


@cache
def _hints(kind: type) -> Mapping[str, object]:
    # The types of JSON are recursive and cannot be resolved in every module.
    return get_type_hints(kind, localns={"JsonObject": _Object, "JsonValue": _Json})


@cache
def _kept(kind: type) -> Sequence[Field[object]]:
    return tuple(one for one in fields(kind) if one.metadata != TRANSIENT)


class _Reader:
    def __init__(self, transients: Mapping[str, object]) -> None:
        self._transients = transients

    def read(self, hint: object, document: JsonValue, place: str) -> object:
        if hint in _VALUES:
            return document
        if hint in _OBJECTS:
            return _object(document, place)
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self._read_alternative(arguments, document, place)
        if origin is Literal:
            if document not in arguments:
                raise BadSnapshot(place, f"must be one of {', '.join(map(repr, arguments))}")
            return document
        if origin in (dict, collections.abc.Mapping):
            return self._mapping(arguments, document, place)
        if origin in (list, tuple):
            listed = _list(document, place)
            if origin is tuple and Ellipsis not in arguments and len(listed) != len(arguments):
                raise BadSnapshot(place, f"must be a list of {len(arguments)}")
            items = [
                self.read(_item(hint, index), one, f"{place}[{index}]") for index, one in enumerate(listed)
            ]
            return items if origin is list else tuple(items)
        return self._scalar(cast("type", hint), document, place)

    def _read_alternative(self, hints: Sequence[object], document: JsonValue, place: str) -> object:
        problems = []
        for hint in hints:
            try:
                return self.read(hint, document, place)
            except BadSnapshot as exc:
                problems.append(exc)
        # The first alternative is the interesting one, the others are mostly null.
        raise problems[0]

    def _mapping(self, arguments: Sequence[object], document: JsonValue, place: str) -> object:
        key, item = arguments
        if key is str:
            found = _object(document, place)
            return {name: self.read(item, one, f"{place}.{name}") for name, one in found.items()}
        pairs = [_list(pair, f"{place}[{index}]") for index, pair in enumerate(_list(document, place))]
        if any(len(pair) != 2 for pair in pairs):
            raise BadSnapshot(place, "must be a list of pairs")
        return {
            self.read(key, pair[0], f"{place}[{index}][0]"): self.read(item, pair[1], f"{place}[{index}][1]")
            for index, pair in enumerate(pairs)
        }

    def _scalar(self, kind: type, document: JsonValue, place: str) -> object:
        if is_dataclass(kind):
            return self._dataclass(kind, _object(document, place), place)
        if issubclass(kind, Enum):
            return _make_value(kind, document, place)
        if kind is bytes:
            text = _object(document, place).get(_BYTES)
            return _make_value(_decode_base64, text, place)
        if kind is float and type(document) is int:
            return float(document)
        if type(document) is not kind:
            raise BadSnapshot(place, f"must be of type {'null' if kind is type(None) else kind.__name__}")
        return document

    def _dataclass(self, kind: type, document: JsonObject, place: str) -> object:
        hints, values = _hints(kind), {}
        for one in fields(kind):
            where = f"{place}.{one.name}" if place else one.name
            if one.metadata == TRANSIENT:
                values[one.name] = self._transients[one.name]
            elif one.name in document:
                values[one.name] = self.read(hints[one.name], document[one.name], where)
            elif one.default is MISSING and one.default_factory is MISSING:
                raise BadSnapshot(where, "is missing")
        try:
            return kind(**values)
        except (ValueError, ServiceError) as exc:
            raise BadSnapshot(place, str(exc)) from exc


def _decode_base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("not a text")
    return base64.b64decode(text, validate=True)


def _make_value(make: Any, value: JsonValue, place: str) -> object:
    try:
        return make(value)
    except (ValueError, TypeError):
        raise BadSnapshot(place, "has an invalid value") from None


def _object(document: JsonValue, place: str) -> JsonObject:
    if not isinstance(document, dict):
        raise BadSnapshot(place, "must be an object")
    return document


def _list(document: JsonValue, place: str) -> list[JsonValue]:
    if not isinstance(document, list):
        raise BadSnapshot(place, "must be a list")
    return document
