"""`--init FILE`: creates what a file describes, and leaves alone what exists already.

A file is YAML or JSON in the form of the README, a template of Resource Orchestration Service (ROS), or Python with a
function `init(cloud)`. YAML needs the package PyYAML. What a template describes and the local cloud does not have is
left out, with a note.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.fc.handlers import find_handler_problem
from alilocal.fc.model import Settings
from alilocal.rostemplate import BadInit, read_template
from alilocal.smq.queue import QueueAttributes
from alilocal.smq.topic import SubscriptionAttributes, TopicAttributes
from alilocal.tablestore.model import BINARY, INTEGER, STRING, Options

if TYPE_CHECKING:
    from alilocal.eventstream import EventStream
    from alilocal.localcloud import LocalCloud

_KINDS: Mapping[object, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string. Put it in quotes"),
    Path: ((str,), "a path. Put it in quotes"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}

_TYPES = {"STRING": STRING, "INTEGER": INTEGER, "BINARY": BINARY}
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required .*?'(\w+)'")


class _DeadLetter(TypedDict):
    queue: str
    max_receive_count: int


class _Column(TypedDict):
    name: str
    type: str


class _Rule(TypedDict, total=False):
    queue: str
    function: str
    pattern: dict[str, Any]
    description: str
    enabled: bool


@dataclass
class Made:
    """The result of a file: streams that are to be started, and notes about what was left out.

    `parameters` are the names of the parameters that a template has.
    """

    streams: list[EventStream] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)


def init_from(
    cloud: LocalCloud,
    path: Path,
    parameters: Mapping[str, str],
    *,
    on_output: Callable[[str], None] | None = None,
) -> Made:
    """Create what the file at `path` describes; raises BadInit and OSError.

    `parameters` are values for the parameters of a template. `on_output` gets what the functions of the file write.
    """
    made = Made()
    if path.suffix == ".py":
        _run_hook(cloud, path)
        return made
    document = _read(path)
    if "ROSTemplateFormatVersion" in document:
        declared = document.get("Parameters")
        made.parameters = set(declared) if isinstance(declared, dict) else set()
        document, made.notes = read_template(document, parameters, cloud.region, cloud.account_id)
    _Creation(cloud, path.parent, made, on_output).create_all(document)
    return made


def _run_hook(cloud: LocalCloud, path: Path) -> None:
    hook = runpy.run_path(str(path)).get("init")
    if not callable(hook):
        raise BadInit(f"{path}: has no function init(cloud).")
    hook(cloud)


def _read(path: Path) -> JsonObject:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else _load_yaml(text)
    except ValueError as exc:
        raise BadInit(f"{path}: {exc}") from None
    if not isinstance(document, dict):
        raise BadInit(f"{path}: must be an object.")
    return document


def _load_yaml(text: str) -> JsonValue:
    try:
        import yaml
    except ImportError:
        raise BadInit("YAML needs the package PyYAML. Install it, or write the file as JSON.") from None
    try:
        loaded: JsonValue = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ValueError(f"is not valid YAML: {exc}") from None
    return loaded


class _Creation:
    def __init__(
        self, cloud: LocalCloud, folder: Path, made: Made, on_output: Callable[[str], None] | None
    ) -> None:
        self._cloud = cloud
        self._folder = folder
        self._made = made
        self._on_output = on_output

    def create_all(self, document: JsonObject) -> None:
        """Create everything; what is named by something else comes first."""
        # Queues are created before their dead-letter policies, which name other queues.
        steps: dict[str, tuple[Callable[[str, dict[str, Any]], None], ...]] = {
            "queues": (self._queue, self._dead_letter),
            "topics": (self._topic,),
            "tables": (self._table,),
            "roles": (self._role,),
            "functions": (self._function,),
            "buses": (self._bus,),
        }
        unknown = sorted(set(document) - set(steps))
        if unknown:
            raise BadInit(f"{unknown[0]}: is unknown. Use one of {', '.join(steps)}.")
        for kind, creators in steps.items():
            for create in creators:
                for name, given in _read_resources(document.get(kind), kind):
                    try:
                        create(name, dict(given))
                    except ServiceError as exc:
                        raise BadInit(f"{kind}.{name}: {exc.message}") from None
                    except (ValueError, TypeError, KeyError) as exc:
                        raise BadInit(f"{kind}.{name}: {_reason(exc)}") from None

    def _queue(self, name: str, given: dict[str, Any]) -> None:
        check_members(given, QueueAttributes, dead_letter=_DeadLetter | None)
        given.pop("dead_letter", None)
        if name not in self._cloud.queues:
            self._cloud.queues.create(name, **given)

    def _dead_letter(self, name: str, given: dict[str, Any]) -> None:
        policy = given.get("dead_letter")
        if policy:
            self._cloud.queues.get(policy["queue"])
            self._cloud.queues.get(name).dead_letter(policy["queue"], policy["max_receive_count"])

    def _topic(self, name: str, given: dict[str, Any]) -> None:
        check_members(given, TopicAttributes)
        subscriptions = given.pop("subscriptions", None)
        if name not in self._cloud.topics:
            self._cloud.topics.create(name, **given)
        for label, one in _read_resources(subscriptions, "subscriptions"):
            attributes = dict(one)
            self._check(f"subscriptions.{label}", attributes, SubscriptionAttributes, queue=str)
            queue = attributes.pop("queue", None)
            if queue is not None:
                account = f"{self._cloud.region}:{self._cloud.account_id}"
                attributes["endpoint"] = f"acs:mns:{account}:queues/{queue}"
            self._cloud.topics.subscribe(name, label, SubscriptionAttributes(**attributes))

    def _table(self, name: str, given: dict[str, Any]) -> None:
        check_members(given, Options, primary_key=dict[str, str] | list[_Column])
        columns = given.pop("primary_key")
        pairs = (
            columns.items() if isinstance(columns, dict) else [(one["name"], one["type"]) for one in columns]
        )
        for column, kind in pairs:
            if str(kind).upper() not in _TYPES:
                raise ValueError(f"primary_key.{column}: {kind!r} is not one of {', '.join(_TYPES)}.")
        schema = [(column, _TYPES[str(kind).upper()]) for column, kind in pairs]
        if name not in self._cloud.tables.list():
            self._cloud.tables.create(name, schema, Options(**given))

    def _role(self, name: str, given: dict[str, Any]) -> None:
        _refuse_unknown(given, ("policies",))
        # The content of a policy is checked when the role is created.
        check_members(given, _Nothing, policies=dict[str, Any] | list[dict[str, Any]] | None)
        policies = given.get("policies")
        if name.lower() not in self._cloud.credentials.roles:
            self._cloud.credentials.role(name, policies)

    def _bus(self, name: str, given: dict[str, Any]) -> None:
        _refuse_unknown(given, ("description", "rules"))
        check_members(given, _Nothing, description=str)
        if name not in self._cloud.buses:
            self._cloud.buses.create(name, str(given.get("description", "")))
        for label, rule in _read_resources(given.get("rules"), "rules"):
            self._check(f"rules.{label}", rule, _Rule)
            self._cloud.buses.rule(label, bus=name, replace=True, **rule)

    def _function(self, name: str, given: dict[str, Any]) -> None:
        from alilocal.eventstream import EventStream

        check_members(given, Settings, stream=dict[str, Any] | None)
        stream, role = given.pop("stream", None), given.get("role")
        self._check("stream", stream or {}, EventStream.__init__)
        if role is not None and str(role).lower() not in self._cloud.credentials.roles:
            raise ValueError(f"role: {role!r} does not exist. Describe it in roles.")
        given["code"] = self._folder / given.get("code", ".")
        for member in ("handler", "initializer", "pre_stop"):
            problem = find_handler_problem(given[member], given["code"]) if given.get(member) else None
            if problem is not None:
                self._made.notes.append(f"functions.{name}.{member}: {problem}")
        if name not in self._cloud.functions:
            self._cloud.functions.create(
                name, **{"reaches_cloud": True, "on_output": self._on_output, **given}
            )
        if stream is not None:
            function = self._cloud.functions[name]
            self._made.streams.append(EventStream(self._cloud, invoke=function, **stream))

    @staticmethod
    def _check(place: str, given: Mapping[str, Any], described: object, **own: object) -> None:
        try:
            check_members(given, described, **own)
        except ValueError as exc:
            raise ValueError(f"{place}.{exc}") from None


class _Nothing:
    """Has no members."""


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]}: is unknown. Use one of {', '.join(known)}.")


def _reason(exc: Exception) -> str:
    """Return what is wrong in the words of the file, whose members became arguments in Python."""
    text = str(exc)
    if isinstance(exc, KeyError):
        return f"{exc.args[0]}: is required."
    if found := _UNKNOWN.search(text):
        return f"{found[1]}: is unknown."
    if found := _MISSING.search(text):
        return f"{found[1]}: is required."
    return "a value has the wrong type." if isinstance(exc, TypeError) else text


def _read_resources(value: Any, place: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the resources of a kind; they are an object by name, or a list of names."""
    if value is None:
        return []
    items = [(one, None) for one in value] if isinstance(value, list) else None
    items = [*value.items()] if isinstance(value, dict) else items
    if items is None or not all(one is None or isinstance(one, dict) for _, one in items):
        raise BadInit(f"{place}: must be an object with one object per name, or a list of names.")
    for name, _ in items:
        if not isinstance(name, str):
            raise BadInit(f"{place}: {name!r} is not a name. Write the name as a string.")
    return [(name, one or {}) for name, one in items]


def check_members(given: Mapping[str, Any], described: object, **own: object) -> None:
    """Raise ValueError for the first member of `given` that is not of the type that `described` has for it.

    `described` is a class or a function, and `own` the types of further members. Members without a type are not
    compared, because the object itself refuses those that it does not know.
    """
    types = {**get_type_hints(described), **own}
    for name, value in given.items():
        if name in types:
            problem = find_mismatch(value, types[name], name)
            if problem is not None:
                raise ValueError(problem)


def find_mismatch(value: Any, wanted: Any, place: str) -> str | None:
    """Return which value at or below `place` is not of the type `wanted`, or None if all are."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        problems = [find_mismatch(value, one, place) for one in inner if one is not NoneType]
        # The one with the longest place comes from the alternative that fits best.
        return None if None in problems else max(problems, key=lambda one: len(str(one).partition(":")[0]))
    if origin is Literal:
        listed = ", ".join(map(str, inner))
        return None if value in inner else f"{place}: {_show(value)} is not one of {listed}."
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _find_in_object(
            value, dict.fromkeys(value, inner[1]) if isinstance(value, dict) else {}, place
        )
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, list):
            return f"{place}: {_show(value)} is not a list."
        found = (find_mismatch(one, inner[0], f"{place}[{number}]") for number, one in enumerate(value))
        return next((one for one in found if one is not None), None)
    if is_typeddict(wanted):
        types = get_type_hints(wanted)
        missing = [
            name for name in sorted(wanted.__required_keys__) if isinstance(value, dict) and name not in value
        ]
        return f"{place}.{missing[0]}: is required." if missing else _find_in_object(value, types, place)
    kinds, words = _KINDS.get(wanted, ((), ""))
    is_right = isinstance(value, kinds) and (wanted is bool or not isinstance(value, bool))
    return f"{place}: {_show(value)} is not {words}." if kinds and not is_right else None


def _find_in_object(value: Any, types: Mapping[str, Any], place: str) -> str | None:
    if not isinstance(value, dict):
        return f"{place}: {_show(value)} is not an object."
    unknown = [name for name in value if name not in types]
    if unknown:
        return f"{place}.{unknown[0]}: is unknown. Use one of {', '.join(types)}."
    found = (find_mismatch(one, types[name], f"{place}.{name}") for name, one in value.items())
    return next((one for one in found if one is not None), None)


def _show(value: Any) -> str:
    """Return a value as it would be in a file, which may be YAML with dates."""
    return json.dumps(value, ensure_ascii=False, default=str)
