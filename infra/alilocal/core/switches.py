"""Switches: choices where the documentation is silent or contradicts itself, and oddities that clients must tolerate.

A service that has switches of its own declares them in its `switches.py`, as a dataclass derived from `Switches`.
`alilocal.services` combines them into the one object `cloud.behaviour`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_type_hints


class Switches:
    """The base class of a service's switches. Every member may be set at any time.

    Setting an unknown member raises AttributeError, and an invalid value ValueError.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __setattr__(self, name: str, value: object) -> None:
        known = switch_choices(type(self))
        if name not in known:
            raise AttributeError(f"unknown switch: {name}. Known switches: {', '.join(sorted(known))}")
        if known[name] and value not in known[name]:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(repr, known[name]))}")
        least = None if known[name] else type(self).__dataclass_fields__[name].metadata["least"]
        if least is not None and not (type(value) in (int, type(least)) and least <= value < math.inf):  # type: ignore[operator]
            raise ValueError(f"{name}: {value!r} is not a number of at least {least}")
        super().__setattr__(name, value)


def check_choice(name: str, value: object, choices: object) -> None:
    """Raise ValueError unless `value` is one of the literals in the type `choices`."""
    if value not in get_args(choices):
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(get_args(choices))}")


def number(default: float, *, least: float) -> Any:
    """Return a dataclass field for a switch that is a number of at least `least`; an int if `default` is one."""
    return field(default=default, metadata={"least": least})


def switch_choices(kind: type[Switches]) -> Mapping[str, tuple[bool | int | str, ...]]:
    """Return the possible values of each switch of a class by name; an empty tuple for a number."""
    if kind not in _CHOICES:
        hints = get_type_hints(kind)
        _CHOICES[kind] = {
            one.name: (True, False) if hints[one.name] is bool else get_args(hints[one.name])
            for one in fields(kind)
        }
    return _CHOICES[kind]


_CHOICES: dict[type[Switches], Mapping[str, tuple[bool | int | str, ...]]] = {}


@dataclass
class GatewaySwitches(Switches):
    """The switches of the API gateway, which the services behind it share."""

    nonce_memory_seconds: float = number(900.0, least=0.0)
    """How long a gateway remembers a signature nonce; with 0 it refuses none.

    Not documented: 900 is inferred from the window of request times, and the vendor's support named 31 minutes.
    """
    default_format: Literal["JSON", "XML"] = "JSON"
    """The format of an answer to a call of the RPC style that names none; each product's page names another one."""
    throttled_nonce: Literal["kept", "used"] = "kept"
    """Whether a call that a fault or a limit throttles keeps its nonce for another attempt, or uses it up."""
