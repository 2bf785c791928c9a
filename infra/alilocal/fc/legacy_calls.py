"""Function Compute 2.0: services that contain functions, versions and aliases.

Its versions of the API are 2021-04-06 and 2016-08-15. A function of 2.0 is the function `<service>$<function>` of
3.0. A version of a service publishes all its functions, and an alias of a service is an alias of each of them. The
paths of the oldest clients have a qualifier after the name of the service: `<service>.<qualifier>`. Sources: the
vendor's SDKs alibabacloud-fc-open20210406 2.0.12 and aliyun-fc2 2.5.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from alilocal.core.http import Response
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.service import Call, Route
from alilocal.core.world import World
from alilocal.fc import wire
from alilocal.fc.callbase import CallBase
from alilocal.fc.calls import Calls
from alilocal.fc.errors import AlreadyExists, InvalidArgument, NotEmpty, NotFound, Unchanged
from alilocal.fc.functionhost import LATEST, FunctionHost
from alilocal.fc.invoke_calls import InvokeCalls
from alilocal.fc.registry import (
    NAME,
    Alias,
    Entry,
    Registry,
    ServiceEntry,
    Version,
    check_alias,
    read_weights,
)
from alilocal.fc.signature import generation
from alilocal.fc.switches import FunctionComputeSwitches
from alilocal.fc.trigger_calls import TriggerCalls

_SERVICE_MEMBERS = (
    *("description", "internetAccess", "logConfig", "nasConfig", "ossMountConfig", "role", "tracingConfig"),
    "vpcConfig",
)
_EMPTY_CONFIGS: Mapping[str, JsonObject] = {
    "logConfig": {"project": "", "logstore": ""},
    "nasConfig": {"userId": -1, "groupId": -1, "mountPoints": []},
    "tracingConfig": {"type": None, "params": None},
    "vpcConfig": {"vpcId": "", "vSwitchIds": [], "securityGroupId": ""},
}
"""What the service answers for a configuration that was not given. The tests of the vendor's SDKs read them."""
_INITIALIZATION_SECONDS = 3


class LegacyCalls(CallBase):
    """The handlers of the operations."""

    def __init__(
        self,
        world: World[FunctionComputeSwitches],
        registry: Registry,
        calls: Calls,
        invocations: InvokeCalls,
        triggers: TriggerCalls,
        host: Callable[[], FunctionHost],
    ) -> None:
        super().__init__(world, registry, host)
        self._calls = calls
        self._invocations = invocations
        self._triggers = triggers

    def routes(self, api: str) -> Sequence[Route]:
        """Return the routes below `api`, such as `/2021-04-06`."""
        services = f"{api}/services"
        one = f"{services}/{{service}}"
        functions, versions, aliases = f"{one}/functions", f"{one}/versions", f"{one}/aliases"
        function, alias = f"{functions}/{{function}}", f"{aliases}/{{alias}}"
        triggers = f"{function}/triggers"
        trigger = f"{triggers}/{{trigger}}"
        return (
            Route("CreateService", "POST", services, self.create_service),
            Route("ListServices", "GET", services, self.list_services),
            Route("GetService", "GET", one, self.get_service),
            Route("UpdateService", "PUT", one, self.update_service),
            Route("DeleteService", "DELETE", one, self.delete_service),
            Route("CreateFunction", "POST", functions, self.create),
            Route("ListFunctions", "GET", functions, self.list_functions),
            Route("GetFunction", "GET", function, self.get),
            Route("UpdateFunction", "PUT", function, self.update),
            Route("DeleteFunction", "DELETE", function, self._resolve_name(self._calls.delete)),
            Route("GetFunctionCode", "GET", f"{function}/code", self._resolve_name(self._calls.code)),
            Route("InvokeFunction", "POST", f"{function}/invocations", self.invoke),
            Route("PublishServiceVersion", "POST", versions, self.publish),
            Route("ListServiceVersions", "GET", versions, self.list_versions),
            Route("DeleteServiceVersion", "DELETE", f"{versions}/{{version}}", self.delete_version),
            Route("CreateAlias", "POST", aliases, self.create_alias),
            Route("ListAliases", "GET", aliases, self.list_aliases),
            Route("GetAlias", "GET", alias, self.get_alias),
            Route("UpdateAlias", "PUT", alias, self.update_alias),
            Route("DeleteAlias", "DELETE", alias, self.delete_alias),
            Route("CreateTrigger", "POST", triggers, self._trigger(self._triggers.create)),
            Route("ListTriggers", "GET", triggers, self._trigger(self._triggers.list)),
            Route("GetTrigger", "GET", trigger, self._trigger(self._triggers.get)),
            Route("UpdateTrigger", "PUT", trigger, self._trigger(self._triggers.update)),
            Route("DeleteTrigger", "DELETE", trigger, self._resolve_name(self._triggers.delete)),
        )

    def create_service(self, call: Call) -> Response:
        given = wire.read_object(call.request)
        name = given.get("serviceName")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidArgument(f"serviceName: {name!r} is not a valid name.")
        if name in self._registry.services:
            raise AlreadyExists("Service", name)
        now = self._world.clock.now()
        service = ServiceEntry(name, self._world.ids.uuid(), _members(given), now, now)
        self._registry.services[name] = service
        return _service_answer(call, service)

    def list_services(self, call: Call) -> Response:
        rows, rest = wire.page(call.request, self._registry.services.items())
        return wire.json_answer(call.request_id, {"services": [_service_row(one) for one in rows], **rest})

    def get_service(self, call: Call) -> Response:
        service, version_id = self._service(call), self._version_id(call)
        if version_id is None:
            return _service_answer(call, service)
        members = _object(service.published[version_id]["members"])
        own = {**members, "description": service.versions[version_id]["description"]}
        return _service_answer(call, replace(service, members=own))

    def update_service(self, call: Call) -> Response:
        service = self._service(call)
        service.members = {**service.members, **_members(wire.read_object(call.request))}
        service.modified = self._world.clock.now()
        for entry in self._entries(service):
            self._registry.update(entry.name, {"role": service.members.get("role", "")})
        return _service_answer(call, service)

    def delete_service(self, call: Call) -> Response:
        service = self._service(call)
        if self._entries(service):
            raise NotEmpty(service.name, "functions")
        if service.versions:
            raise NotEmpty(service.name, "versions")
        del self._registry.services[service.name]
        return wire.json_answer(call.request_id, None)

    def create(self, call: Call) -> Response:
        service, given = self._service(call), wire.read_object(call.request)
        name = f"{service.name}${given.get('functionName')}"
        members = {**_function_members(given), "functionName": name, "role": service.members.get("role", "")}
        entry = self._calls.create_entry(members)
        return self._function(call, entry)

    def list_functions(self, call: Call) -> Response:
        service, version_id = self._service(call), self._version_id(call)
        entries = [
            (_short(entry), entry)
            for entry in self._entries(service)
            if version_id is None or version_id in entry.versions
        ]
        rows, rest = wire.page(call.request, entries)
        found: list[JsonValue] = [self._row(one, one.versions.get(version_id or "")) for one in rows]
        return wire.json_answer(call.request_id, {"functions": found, **rest})

    def get(self, call: Call) -> Response:
        entry = self._entry(call)
        return self._function(call, entry, entry.qualified(self._qualifier(call) or LATEST))

    def update(self, call: Call) -> Response:
        entry = self._entry(call)
        given = _function_members(wire.read_object(call.request), _initializer(entry.latest.members))
        self._calls.update_entry(entry, given)
        return self._function(call, entry)

    def invoke(self, call: Call) -> Response:
        return self._invocations.invoke_qualified(call, self._entry(call).name, self._qualifier(call))

    def publish(self, call: Call) -> Response:
        service, given = self._service(call), wire.read_object(call.request)
        content: JsonObject = {
            "members": service.members,
            "functions": {entry.name: entry.latest.number for entry in self._entries(service)},
        }
        if service.published.get(str(service.newest_version)) == content:
            raise Unchanged("Service", service.name)
        service.newest_version += 1
        number, now = str(service.newest_version), self._world.clock.now()
        service.published[number] = content
        description = str(given.get("description") or "")
        for entry in self._entries(service):
            entry.versions[number] = Version(number, entry.latest, description, now)
        service.versions[number] = wire.version_row(number, description, now)
        return wire.json_answer(call.request_id, service.versions[number])

    def list_versions(self, call: Call) -> Response:
        versions = self._service(call).versions
        rows, rest, _ = wire.version_page(call.request, versions)
        return wire.json_answer(call.request_id, {"versions": [*rows], **rest})

    def delete_version(self, call: Call) -> Response:
        service, version_id = self._service(call), call.params["version"]
        if version_id not in service.versions:
            raise NotFound("Version", version_id)
        host = self._host()
        for entry in self._entries(service):
            if version_id in entry.versions:
                self._registry.delete_version(entry.name, version_id)
                self._world.changed.run_unlocked(partial(host.delete, entry.name, version_id))
        del service.versions[version_id], service.published[version_id]
        return wire.json_answer(call.request_id, None)

    def create_alias(self, call: Call) -> Response:
        service, given = self._service(call), wire.read_object(call.request)
        if str(given.get("versionId")) not in service.versions:
            raise NotFound("Version", str(given.get("versionId")))
        name = str(given.get("aliasName") or "")
        check_alias(name)
        if name in service.aliases:
            raise AlreadyExists("Alias", name)
        now = self._world.clock.now()
        alias = Alias(name, str(given["versionId"]), {}, "", now, now)
        return self._change_alias(call, service, alias, given)

    def update_alias(self, call: Call) -> Response:
        service = self._service(call)
        return self._change_alias(call, service, self._alias(call, service), wire.read_object(call.request))

    def get_alias(self, call: Call) -> Response:
        return wire.json_answer(call.request_id, wire.alias_row(self._alias(call, self._service(call))))

    def list_aliases(self, call: Call) -> Response:
        rows, rest = wire.page(call.request, self._service(call).aliases.items())
        found: list[JsonValue] = [wire.alias_row(one) for one in rows]
        return wire.json_answer(call.request_id, {"aliases": found, **rest})

    def delete_alias(self, call: Call) -> Response:
        service = self._service(call)
        alias = self._alias(call, service)
        del service.aliases[alias.name]
        for entry in self._entries(service):
            entry.aliases.pop(alias.name, None)
        return wire.json_answer(call.request_id, None)

    def _change_alias(self, call: Call, service: ServiceEntry, alias: Alias, given: JsonObject) -> Response:
        weights = alias.weights if given.get("additionalVersionWeight") is None else read_weights(given)
        version_id = str(given.get("versionId") or alias.version_id)
        unknown = sorted({version_id, *weights} - set(service.versions))
        if unknown:
            raise NotFound("Version", unknown[0])
        service.aliases[alias.name] = alias
        alias.version_id, alias.weights = version_id, weights
        if isinstance(given.get("description"), str):
            alias.description = str(given["description"])
        alias.modified = self._world.clock.now()
        for entry in self._entries(service):
            if {alias.version_id, *alias.weights} <= set(entry.versions):
                entry.aliases[alias.name] = replace(alias)
        return wire.json_answer(call.request_id, wire.alias_row(alias))

    def _resolve_name(self, handler: Callable[[Call], Response]) -> Callable[[Call], Response]:
        """Return `handler` for a function that the path names with its service."""

        def named(call: Call) -> Response:
            entry = self._entry(call)
            params = {**call.params, "function": entry.name, "qualifier": self._qualifier(call) or ""}
            return handler(replace(call, params=params))

        return named

    def _trigger(self, handler: Callable[[Call], Response]) -> Callable[[Call], Response]:
        """Return `handler` for triggers. In the oldest version, the configuration of one is an object."""
        named = self._resolve_name(handler)

        def changed(call: Call) -> Response:
            answer = named(call)
            if generation(call.request) != "2016-08-15":
                return answer
            body = json.loads(answer.body)
            for row in body.get("triggers", [body]):
                row["triggerConfig"] = json.loads(row["triggerConfig"])
            return answer._replace(body=json.dumps(body, ensure_ascii=False).encode())

        return changed

    def _service(self, call: Call) -> ServiceEntry:
        name = call.params["service"].partition(".")[0]
        if name not in self._registry.services:
            raise NotFound("Service", name)
        return self._registry.services[name]

    def _qualifier(self, call: Call) -> str | None:
        return call.params["service"].partition(".")[2] or wire.query(call.request, "qualifier")

    def _version_id(self, call: Call) -> str | None:
        """Return the version of the service that a request is about, or None for the latest state."""
        service, qualifier = self._service(call), self._qualifier(call)
        if qualifier in (None, LATEST):
            return None
        alias = service.aliases.get(qualifier)
        version_id = alias.version_id if alias else qualifier
        if version_id not in service.versions:
            raise NotFound("Version" if qualifier.isdecimal() else "Alias", qualifier)
        return version_id

    def _alias(self, call: Call, service: ServiceEntry) -> Alias:
        if call.params["alias"] not in service.aliases:
            raise NotFound("Alias", call.params["alias"])
        return service.aliases[call.params["alias"]]

    def _entry(self, call: Call) -> Entry:
        name = f"{self._service(call).name}${call.params['function']}"
        if name not in self._registry.entries:
            raise NotFound("Function", call.params["function"])
        return self._registry.entries[name]

    def _entries(self, service: ServiceEntry) -> list[Entry]:
        return [
            entry for name, entry in self._registry.entries.items() if name.startswith(f"{service.name}$")
        ]

    def _function(self, call: Call, entry: Entry, version: Version | None = None) -> Response:
        return wire.json_answer(call.request_id, self._row(entry, version))

    def _row(self, entry: Entry, version: Version | None = None) -> JsonObject:
        row = wire.function_row(self._registry, self._names, entry, version)
        own = _initializer(row)
        return {
            "instanceType": "e1",
            **row,
            "functionName": _short(entry),
            "initializer": own.get("handler", ""),
            "initializationTimeout": own.get("timeout", 0),
        }


def _short(entry: Entry) -> str:
    return entry.name.partition("$")[2]


def _members(given: JsonObject) -> JsonObject:
    return {name: given[name] for name in _SERVICE_MEMBERS if given.get(name) is not None}


def _initializer(members: JsonObject) -> JsonObject:
    hooks = members.get("instanceLifecycleConfig")
    return _object(_object(hooks).get("initializer"))


def _function_members(given: JsonObject, present: JsonObject | None = None) -> JsonObject:
    """Return the settings of a function of 2.0 in the form of 3.0, where an initializer is a hook.

    A handler or a time-out that is missing in `given` is that of `present`, the initializer so far.
    """
    members = dict(given)
    changed = {
        "handler": members.pop("initializer", None),
        "timeout": _read_seconds(members.pop("initializationTimeout", None)),
    }
    changed = {name: value for name, value in changed.items() if value is not None}
    if changed:
        hooks = _object(members.get("instanceLifecycleConfig"))
        initializer = {"handler": "", "timeout": _INITIALIZATION_SECONDS, **(present or {}), **changed}
        members["instanceLifecycleConfig"] = {**hooks, "initializer": initializer}
    return members


def _read_seconds(value: JsonValue) -> JsonValue:
    """Return a time-out, which the vendor's tests also send as text, or None if there is none."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value or None


def _service_row(service: ServiceEntry) -> JsonObject:
    return {
        "description": "",
        "role": "",
        "internetAccess": True,
        **service.members,
        **{name: {**empty, **_object(service.members.get(name))} for name, empty in _EMPTY_CONFIGS.items()},
        "serviceName": service.name,
        "serviceId": service.service_id,
        "createdTime": wire.format_time(service.created),
        "lastModifiedTime": wire.format_time(service.modified),
    }


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _service_answer(call: Call, service: ServiceEntry) -> Response:
    return wire.json_answer(call.request_id, _service_row(service))
