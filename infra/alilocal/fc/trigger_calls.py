"""The operations on triggers. A trigger works from the moment it is created until it is deleted or disabled."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

from alilocal.core.http import Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.core.service import Call
from alilocal.fc import wire
from alilocal.fc.callbase import CallBase
from alilocal.fc.errors import AlreadyExists, InvalidArgument
from alilocal.fc.functionhost import LATEST, Deployed
from alilocal.fc.httptrigger import url_of
from alilocal.fc.registry import NAME, Entry, Trigger
from alilocal.fc.triggerconfig import Source, change_config, read_source

_MOST_TRIGGERS = 50


class TriggerCalls(CallBase):
    """The handlers of the operations."""

    def create(self, call: Call) -> Response:
        entry, given = self._registry.get(call.params["function"]), wire.read_object(call.request)
        name = given.get("triggerName")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidArgument(f"triggerName: {name!r} is not a valid name.")
        if name in entry.triggers:
            raise AlreadyExists("Trigger", name)
        if len(entry.triggers) >= _MOST_TRIGGERS:
            raise InvalidArgument(f"a function has at most {_MOST_TRIGGERS} triggers")
        now = self._world.clock.now()
        trigger = Trigger(
            name=name,
            trigger_id=self._world.ids.uuid(),
            kind=str(given.get("triggerType") or ""),
            qualifier=str(given.get("qualifier") or LATEST),
            config=_config_text(given.get("triggerConfig")),
            source_arn=str(given.get("sourceArn") or ""),
            role=str(given.get("invocationRole") or ""),
            description=str(given.get("description") or ""),
            created=now,
            modified=now,
        )
        _check_only_http(entry, trigger)
        self._start(entry, trigger)
        entry.triggers[name] = trigger
        return self._answer(call, entry, trigger)

    def update(self, call: Call) -> Response:
        entry, given = self._registry.get(call.params["function"]), wire.read_object(call.request)
        old = entry.trigger(call.params["trigger"])
        config, description = old.config, given.get("description")
        if given.get("triggerConfig"):
            change = _read_config(_config_text(given["triggerConfig"]))
            config = _config_text(change_config(old.kind, _read_config(config), change))
        changed = replace(
            old,
            qualifier=str(given.get("qualifier") or old.qualifier),
            config=config,
            role=str(given.get("invocationRole") or old.role),
            description=old.description if description is None else str(description),
            modified=self._world.clock.now(),
        )
        _check_only_http(entry, changed)
        self._start(entry, changed)
        entry.triggers[old.name] = changed
        return self._answer(call, entry, changed)

    def get(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        return self._answer(call, entry, entry.trigger(call.params["trigger"]))

    def list(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        rows, rest = wire.page(call.request, entry.triggers.items())
        found: list[JsonValue] = [self._row(call, entry, one) for one in rows]
        return wire.json_answer(call.request_id, {"triggers": found, **rest})

    def delete(self, call: Call) -> Response:
        entry = self._registry.get(call.params["function"])
        trigger = entry.trigger(call.params["trigger"])
        del entry.triggers[trigger.name]
        host = self._host()
        self._world.changed.run_unlocked(lambda: host.stop_trigger(entry.name, trigger.name))
        return wire.json_answer(call.request_id, None)

    def resume(self) -> None:
        """Start all triggers, as after loading a snapshot. Called without the lock.

        A trigger whose queue or topic was deleted stays stopped until it is updated.
        """
        for entry in list(self._registry.entries.values()):
            for trigger in list(entry.triggers.values()):
                with contextlib.suppress(ServiceError):
                    source = self._source(trigger)
                    if source is not None:
                        self._start_source(entry.name, trigger, source)

    def _start(self, entry: Entry, trigger: Trigger) -> None:
        """Start a trigger in place of an earlier one, or stop it if it is disabled; raises ServiceError."""
        entry.qualified(trigger.qualifier)
        source, host = self._source(trigger), self._host()
        if source is None:
            self._world.changed.run_unlocked(lambda: host.stop_trigger(entry.name, trigger.name))
            return
        self._world.changed.run_unlocked(lambda: self._start_source(entry.name, trigger, source))

    def _start_source(self, function: str, trigger: Trigger, source: Source) -> None:
        def find() -> Deployed:
            with self._world.changed:
                deployed = self._registry.find(function, trigger.qualifier)
                self._check_callable(deployed)
                return deployed

        try:
            self._host().start_trigger(function, trigger.name, source, find)
        except ServiceError as exc:
            raise InvalidArgument(f"triggerConfig: {exc.message}") from None
        except ValueError as exc:
            raise InvalidArgument(f"triggerConfig: {exc}") from None

    def _answer(self, call: Call, entry: Entry, trigger: Trigger) -> Response:
        return wire.json_answer(call.request_id, self._row(call, entry, trigger))

    def _source(self, trigger: Trigger) -> Source | None:
        config = _read_config(trigger.config)
        return read_source(trigger.kind, config, trigger.source_arn, self._world.behaviour)

    def _row(self, call: Call, entry: Entry, trigger: Trigger) -> JsonObject:
        return wire.trigger_row(self._names, entry.name, trigger, url_of(call.request, trigger))


def _check_only_http(entry: Entry, trigger: Trigger) -> None:
    """Raise InvalidArgument for a second HTTP trigger of a version or an alias."""
    if trigger.kind != "http":
        return
    for other in entry.triggers.values():
        if other.kind == "http" and other.qualifier == trigger.qualifier and other.name != trigger.name:
            raise InvalidArgument(f"{trigger.qualifier} has the HTTP trigger '{other.name}' already.")


def _read_config(text: str) -> JsonObject:
    try:
        config = load_json(text)
    except ValueError:
        raise InvalidArgument("triggerConfig: is not JSON.") from None
    if not isinstance(config, dict):
        raise InvalidArgument("triggerConfig: must be an object.")
    return config


def _config_text(value: JsonValue) -> str:
    """Return the configuration as text; clients send JSON text, and the console an object."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        raise InvalidArgument("triggerConfig: is required.")
    return value
