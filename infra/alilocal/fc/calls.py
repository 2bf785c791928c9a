"""The operations on functions, their code, versions, aliases and configurations."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

from alilocal.core.http import Response
from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.fc import wire
from alilocal.fc.callbase import CallBase
from alilocal.fc.errors import AlreadyExists, InvalidArgument, NotFound
from alilocal.fc.functionhost import LATEST, FunctionHost
from alilocal.fc.objects import Objects
from alilocal.fc.registry import AsyncConfig, Entry, Registry
from alilocal.fc.switches import FunctionComputeSwitches

_ASYNC_RANGES = {"maxAsyncRetryAttempts": (0, 8), "maxAsyncEventAgeInSeconds": (1, 604_800)}
_DESTINATION = re.compile(
    r"acs:(?:"
    r"mns:[^:]*:[^:]*:/?(?:queues|topics)/[^/]+(?:/messages)?"
    r"|fc:[^:]*:[^:]*:(?:services/[^/]+/)?functions/[^/]+(?:/[^/]+)?"
    r"|eventbridge:[^:]*:[^:]*:eventbus/[^/]+)"
)
_ASYNC_MEMBERS = ("asyncTask", "destinationConfig", "maxAsyncEventAgeInSeconds", "maxAsyncRetryAttempts")


class Calls(CallBase):
    """The handlers of the operations."""

    def __init__(
        self,
        world: World[FunctionComputeSwitches],
        registry: Registry,
        objects: Objects,
        host: Callable[[], FunctionHost],
    ) -> None:
        super().__init__(world, registry, host)
        self._objects = objects

    def create(self, call: Call) -> Response:
        return self._function(call, self.create_entry(wire.read_object(call.request)))

    def create_entry(self, given: JsonObject) -> Entry:
        """Create a function and make it callable; raises ServiceError, and then there is no function."""
        if self._host().local(str(given.get("functionName"))):
            raise AlreadyExists("Function", str(given["functionName"]))
        entry = self._registry.create(given)
        entry.tags = _tags(given.get("tags"))
        try:
            self._deploy(entry)
        except ValueError as exc:
            self._registry.delete(entry.name)
            raise InvalidArgument(str(exc)) from None
        return entry

    def update(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        self.update_entry(entry, wire.read_object(call.request))
        return self._function(call, entry)

    def update_entry(self, entry: Entry, given: JsonObject) -> None:
        """Change the latest version of a function; raises ServiceError, and then it is as it was."""
        before = entry.latest
        self._registry.update(entry.name, given)
        try:
            self._deploy(entry)
        except ValueError as exc:
            entry.latest = before
            raise InvalidArgument(str(exc)) from None

    def get(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        version = entry.qualified(wire.query(call.request, "qualifier") or LATEST)
        row = wire.function_row(self._registry, self._names, entry, version)
        return wire.json_answer(call.request_id, row)

    def list_functions(self, call: Call) -> Response:
        wanted = wire.FunctionFilter.read(call.request)
        entries = [(name, entry) for name, entry in self._registry.entries.items() if wanted.fits(entry)]
        rows, rest = wire.page(call.request, entries)
        found: list[JsonValue] = [wire.function_row(self._registry, self._names, one) for one in rows]
        return wire.json_answer(call.request_id, {"functions": found, **rest})

    def delete(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        self._registry.delete(entry.name)
        host = self._host()

        def end() -> None:
            for trigger in entry.triggers:
                host.stop_trigger(entry.name, trigger)
            host.delete(entry.name)

        self._world.changed.run_unlocked(end)
        return wire.json_answer(call.request_id, None)

    def code(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        qualifier = call.params.get("qualifier") or wire.query(call.request, "qualifier")
        version = entry.qualified(qualifier or LATEST)
        package = (version.revision if version else entry.latest).package
        url = self._objects.offer(call.request, package)
        return wire.json_answer(
            call.request_id, {"url": url, "checksum": self._registry.packages.checksum(package)}
        )

    def publish(self, call: Call) -> Response:
        given = wire.read_object(call.request)
        made = self._registry.publish(call.params["function"], str(given.get("description") or ""))
        row = wire.version_row(made.version_id, made.description, made.created)
        return wire.json_answer(call.request_id, row)

    def list_versions(self, call: Call) -> Response:
        versions = self._registry.get(call.params["function"]).versions
        rows, rest, direction = wire.version_page(call.request, versions)
        listed: list[JsonValue] = [
            wire.version_row(one.version_id, one.description, one.created) for one in rows
        ]
        answer: JsonObject = {"versions": listed, "direction": direction, **rest}
        return wire.json_answer(call.request_id, answer)

    def delete_version(self, call: Call) -> Response:
        name, version_id = call.params["function"], call.params["version"]
        self._registry.delete_version(name, version_id)
        host = self._host()
        self._world.changed.run_unlocked(lambda: host.delete(name, version_id))
        return wire.json_answer(call.request_id, None)

    def create_alias(self, call: Call) -> Response:
        alias = self._registry.create_alias(call.params["function"], wire.read_object(call.request))
        return wire.json_answer(call.request_id, wire.alias_row(alias))

    def update_alias(self, call: Call) -> Response:
        given = wire.read_object(call.request)
        alias = self._registry.update_alias(call.params["function"], call.params["alias"], given)
        return wire.json_answer(call.request_id, wire.alias_row(alias))

    def get_alias(self, call: Call) -> Response:
        alias = self._registry.get(call.params["function"]).alias(call.params["alias"])
        return wire.json_answer(call.request_id, wire.alias_row(alias))

    def list_aliases(self, call: Call) -> Response:
        aliases = self._registry.get(call.params["function"]).aliases
        rows, rest = wire.page(call.request, aliases.items())
        found: list[JsonValue] = [wire.alias_row(one) for one in rows]
        return wire.json_answer(call.request_id, {"aliases": found, **rest})

    def delete_alias(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        del entry.aliases[entry.alias(call.params["alias"]).name]
        return wire.json_answer(call.request_id, None)

    def put_async(self, call: Call) -> Response:
        entry, qualifier = self._find_qualified(call)
        given = wire.read_object(call.request)
        members = {name: given[name] for name in _ASYNC_MEMBERS if given.get(name) is not None}
        _check_async(members)
        now = self._world.clock.now()
        earlier = entry.async_configs.get(qualifier)
        entry.async_configs[qualifier] = AsyncConfig(members, earlier.created if earlier else now, now)
        return self.get_async(call)

    def get_async(self, call: Call) -> Response:
        entry, qualifier = self._find_qualified(call)
        config = entry.async_configs.get(qualifier)
        if config is None:
            raise NotFound("AsyncConfig", qualifier)
        row = wire.async_row(self._names, entry.name, qualifier, config)
        return wire.json_answer(call.request_id, row)

    def delete_async(self, call: Call) -> Response:
        entry, qualifier = self._find_qualified(call)
        entry.async_configs.pop(qualifier, None)
        return wire.json_answer(call.request_id, None)

    def list_async(self, call: Call) -> Response:
        wanted = wire.query(call.request, "functionName")
        found = [
            (f"{entry.name}/{qualifier}", wire.async_row(self._names, entry.name, qualifier, config))
            for entry in self._registry.entries.values()
            for qualifier, config in entry.async_configs.items()
            if wanted in (None, entry.name)
        ]
        rows, rest = wire.page(call.request, found)
        return wire.json_answer(call.request_id, {"configs": [*rows], **rest})

    def put_concurrency(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        reserved = wire.read_object(call.request).get("reservedConcurrency")
        if isinstance(reserved, bool) or not isinstance(reserved, int) or reserved < 0:
            raise InvalidArgument("reservedConcurrency: must be a number of at least 0.")
        entry.reserved = reserved
        return wire.json_answer(call.request_id, wire.concurrency_row(self._names, entry))

    def get_concurrency(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        if entry.reserved is None:
            raise NotFound("ConcurrencyConfig", entry.name)
        return wire.json_answer(call.request_id, wire.concurrency_row(self._names, entry))

    def delete_concurrency(self, call: Call) -> Response:
        self._registry.get(call.params["function"]).reserved = None
        return wire.json_answer(call.request_id, None)

    def list_concurrency(self, call: Call) -> Response:
        entries = [one for one in self._registry.entries.items() if one[1].reserved is not None]
        rows, rest = wire.page(call.request, entries)
        found: list[JsonValue] = [wire.concurrency_row(self._names, one) for one in rows]
        return wire.json_answer(call.request_id, {"configs": found, **rest})

    def tag(self, call: Call) -> Response:
        given = wire.read_object(call.request)
        for entry in self._find_tagged(given.get("ResourceId", given.get("resourceId"))):
            entry.tags |= _tags(given.get("Tag", given.get("tag")))
        return wire.json_answer(call.request_id, None)

    def untag(self, call: Call) -> Response:
        pairs = call.request.query_pairs(plus_is_space=True)
        keys = _listed(pairs, "TagKey") or _listed(pairs, "tagKey")
        everything = ("All", "true") in pairs or ("all", "true") in pairs
        for entry in self._find_tagged([*_listed(pairs, "ResourceId"), *_listed(pairs, "resourceId")]):
            entry.tags = {key: one for key, one in entry.tags.items() if not everything and key not in keys}
        return wire.json_answer(call.request_id, None)

    def list_tags(self, call: Call) -> Response:
        pairs = call.request.query_pairs(plus_is_space=True)
        wanted = [*_listed(pairs, "ResourceId"), *_listed(pairs, "resourceId")]
        entries = self._find_tagged([*wanted]) if wanted else list(self._registry.entries.values())
        tags = wire.read_tags(call.request, "Tag")
        rows: list[JsonValue] = [
            {
                "ResourceId": self._names.function(entry.name),
                "ResourceType": "function",
                "TagKey": key,
                "TagValue": value,
            }
            for entry in entries
            if wire.has_tags(entry, tags)
            for key, value in sorted(entry.tags.items())
        ]
        answer: JsonObject = {"RequestId": call.request_id, "TagResources": rows}
        return wire.json_answer(call.request_id, answer)

    def instances(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        qualifier = wire.query(call.request, "qualifier")
        rows: list[JsonValue] = [
            wire.instance_row(one)
            for one in self._host().instances(entry.name)
            if qualifier in (None, one.qualifier)
        ]
        return wire.json_answer(call.request_id, {"instances": rows, "requestId": call.request_id})

    def enable(self, call: Call) -> Response:
        return self._set_disabled(call, disabled=False)

    def disable(self, call: Call) -> Response:
        return self._set_disabled(call, disabled=True)

    def _set_disabled(self, call: Call, *, disabled: bool) -> Response:
        self._registry.get(call.params["function"]).disabled = disabled
        return wire.json_answer(call.request_id, {"success": True, "requestId": call.request_id})

    def resume(self) -> None:
        """Make the latest versions callable, as after loading a snapshot. Called without the lock."""
        for entry in list(self._registry.entries.values()):
            with self._world.changed:
                deployed = self._registry.find(entry.name, None)
            # What cannot run is reported by the first call.
            with contextlib.suppress(ValueError):
                self._host().deploy(deployed)

    def _deploy(self, entry: Entry) -> None:
        """Make the latest version callable; raises ValueError. The lock is released meanwhile."""
        host, package = self._host(), entry.latest.package

        def deploy() -> None:
            # Takes a second for a large package, and is kept.
            self._registry.packages.checksum(package)
            with self._world.changed:
                deployed = self._registry.find(entry.name, None)
            host.deploy(deployed)

        self._world.changed.run_unlocked(deploy)

    def _function(self, call: Call, entry: Entry) -> Response:
        return wire.json_answer(call.request_id, wire.function_row(self._registry, self._names, entry))

    def _find_qualified(self, call: Call) -> tuple[Entry, str]:
        entry = self._registry.get(call.params["function"])
        qualifier = wire.query(call.request, "qualifier") or LATEST
        entry.qualified(qualifier)
        return entry, qualifier

    def _find_tagged(self, names: JsonValue) -> list[Entry]:
        found = [str(one).rpartition("/")[2] for one in names] if isinstance(names, list) else []
        return [self._registry.get(name) for name in found]


def _tags(value: JsonValue) -> dict[str, str]:
    rows = value if isinstance(value, list) else []
    pairs = [row for row in rows if isinstance(row, dict)]
    return {
        str(row.get("key", row.get("Key", ""))): str(row.get("value", row.get("Value", ""))) for row in pairs
    }


def _listed(pairs: list[tuple[str, str]], name: str) -> list[str]:
    """Return the items of a list in the query: `name.1=`, `name.2=`, or `name=` with a JSON list."""
    found = [value for key, value in pairs if key.partition(".")[0] == name]
    if len(found) == 1 and found[0].startswith("["):
        try:
            return [str(one) for one in load_json(found[0])]
        except ValueError:
            raise InvalidArgument(f"{name}: is not a JSON list.") from None
    return found


def _check_async(members: JsonObject) -> None:
    """Raise InvalidArgument for an invalid configuration of asynchronous calls."""
    for name, (least, most) in _ASYNC_RANGES.items():
        value = members.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidArgument(f"{name}: must be between {least} and {most}.")
    config = members.get("destinationConfig")
    for name, given in (config if isinstance(config, dict) else {}).items():
        place = given.get("destination") if isinstance(given, dict) else None
        if place and not _DESTINATION.fullmatch(str(place)):
            raise InvalidArgument(
                f"destinationConfig.{name}: {place!r} is not the name of a queue, topic, function or event bus."
            )
