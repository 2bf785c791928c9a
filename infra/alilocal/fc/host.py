"""Runs the functions of the service: unpacks their code, makes a `Function` for each version, and feeds triggers.

Functions that were made in Python with `cloud.functions.create` are in the same list, so that both kinds of users see
both kinds of functions.
"""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from alilocal.cloud import Cloud
from alilocal.core.jsonvalue import JsonObject
from alilocal.eventbridge.functionrule import FunctionRule
from alilocal.eventbridge.pattern import check
from alilocal.eventstream import EventStream
from alilocal.fc import members as read
from alilocal.fc.function import Function, Functions
from alilocal.fc.functionhost import Deployed, InstanceFacts
from alilocal.fc.model import InvocationResult, Settings
from alilocal.fc.sources import Timer, TopicListener
from alilocal.fc.triggerconfig import BusSource, HttpSource, QueueSource, Source, TimerSource, TopicSource

_MOST_INSTANCES = 16
"""How many instances of a version run side by side without a reserved concurrency."""


class Running(Protocol):
    """The source of a trigger while it runs."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Qualified:
    """What a trigger calls: the version behind a qualifier, which may be another one at each call."""

    def __init__(self, find: Callable[[], Deployed], function: Callable[[Deployed], Function]) -> None:
        self._find = find
        self._function = function

    def trigger(self, event: bytes) -> InvocationResult:
        """Call the function, and wait for the result."""
        return self._function(self._find()).trigger(event)

    def trigger_async(self, event: bytes) -> str:
        """Call the function asynchronously, and return the request id."""
        return self._function(self._find()).trigger_async(event)


class Host:
    """The `FunctionHost` of a local cloud."""

    def __init__(self, cloud: Cloud, functions: Functions) -> None:
        self._cloud = cloud
        self._functions = functions
        self._lock = threading.RLock()
        self._deployed: dict[str, set[str]] = {}
        """The keys in `functions` of the functions that the service made, by name."""
        self._triggers: dict[tuple[str, str], Running] = {}
        self._folder: Path | None = None

    def deploy(self, deployed: Deployed) -> None:
        """Make `deployed` callable; raises ValueError if its settings or its package cannot be used."""
        self._function(deployed)

    def invoke(self, deployed: Deployed, event: bytes, request_id: str) -> InvocationResult:
        """Call a function and wait for its result."""
        return self._function(deployed).call(event, request_id, "sync")

    def invoke_async(self, deployed: Deployed, event: bytes, request_id: str, delay: float) -> None:
        """Accept a call that is made after `delay` seconds."""
        self._function(deployed).accept(event, request_id, delay)

    def busy(self, name: str) -> int:
        """Return the number of calls of a function that are running."""
        return sum(function.busy for function in self._list_versions(name))

    def instances(self, name: str) -> Sequence[InstanceFacts]:
        """Return the instances of all versions of a function."""
        return [
            InstanceFacts(instance_id, function.settings.qualifier, function.settings.version_id, born)
            for function in self._list_versions(name)
            for instance_id, born in function.instance_births
        ]

    def delete(self, name: str, version_id: str | None = None) -> None:
        """Forget a function or one of its versions, and end the instances."""
        with self._lock:
            keys = self._deployed.get(name, set())
            gone = set(keys) if version_id is None else keys & {_key(name, version_id)}
            keys -= gone
            if not keys:
                self._deployed.pop(name, None)
        for key in gone:
            self._functions.delete(key)

    def start_trigger(self, function: str, name: str, source: Source, find: Callable[[], Deployed]) -> None:
        """Call what `find` returns for the events of `source`; raises ServiceError if it does not exist."""
        # Made before the earlier one is stopped, which stays if this one cannot be made.
        made = self._source(f"{function}.{name}", source, Qualified(find, self._function))
        self.stop_trigger(function, name)
        if made is None:
            return
        with self._lock:
            self._triggers[function, name] = made
        made.start()

    def stop_trigger(self, function: str, name: str) -> None:
        """Make no further calls for a trigger."""
        with self._lock:
            running = self._triggers.pop((function, name), None)
        if running is None:
            return
        running.stop()
        if isinstance(running, EventStream):
            with self._cloud.changed:
                self._cloud.streams.remove(running)

    def local(self, name: str) -> bool:
        """Return whether a function of that name was made in Python."""
        return name in self._functions and name not in self._deployed

    def invoke_local(self, name: str, event: bytes, request_id: str) -> InvocationResult:
        """Call a function that was made in Python; raises KeyError."""
        return self._functions[name].call(event, request_id, "sync")

    def clear(self) -> None:
        """Stop all triggers, and forget the functions that the service made and their code."""
        for key in list(self._triggers):
            self.stop_trigger(*key)
        for name in list(self._deployed):
            self.delete(name)
        with self._lock:
            folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _list_versions(self, name: str) -> list[Function]:
        with self._lock:
            return [self._functions[key] for key in self._deployed.get(name, ())]

    def _function(self, deployed: Deployed) -> Function:
        """Return the function that runs `deployed`, made or changed if necessary."""
        with self._lock:
            key = _key(deployed.name, deployed.version_id)
            known = key in self._deployed.get(deployed.name, ())
            settings = self._settings(deployed)
            if not known:
                self._functions.add(key, settings)
                self._deployed.setdefault(deployed.name, set()).add(key)
            elif self._functions[key].settings != settings:
                self._functions[key].change(settings)
            return self._functions[key]

    def _settings(self, deployed: Deployed) -> Settings:
        members = deployed.members
        initializer, initializer_timeout = read.hook(members, "initializer")
        runtime = str(members["runtime"])
        most = deployed.most_instances
        return Settings(
            deployed.name,
            str(members["handler"]),
            self._unpack(deployed),
            environment=read.environment(members),
            timeout=_number(members, "timeout"),
            memory=int(_number(members, "memorySize")),
            initializer=initializer,
            initializer_timeout=initializer_timeout,
            pre_stop=read.hook(members, "preStop")[0],
            runtime="python3.12" if runtime == "python3.12" else "python3.10",
            python=find_python(runtime),
            max_instances=_MOST_INSTANCES if most is None else max(1, most),
            role=read.role_name(members),
            max_async_retry_attempts=deployed.asynchronous.most_retries,
            most_async_age_seconds=deployed.asynchronous.most_age_seconds,
            on_success=deployed.asynchronous.on_success,
            on_failure=deployed.asynchronous.on_failure,
            version_id=deployed.version_id,
            qualifier=deployed.version_id or "LATEST",
            revision=deployed.revision,
            reaches_cloud=True,
            hides_keys_in=read.hidden_keys(members),
        )

    def _unpack(self, deployed: Deployed) -> Path:
        """Return the folder with the code; raises ValueError for an archive that cannot be unpacked."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="alilocal-code-"))
        folder = self._folder / deployed.revision.replace("/", "-")
        if folder.is_dir():
            return folder
        fresh = folder.with_suffix(".new")
        # An archive may be empty.
        fresh.mkdir(exist_ok=True)
        try:
            with zipfile.ZipFile(io.BytesIO(deployed.package)) as archive:
                for one in archive.infolist():
                    path = Path(archive.extract(one, fresh))
                    # Python's own extraction loses that a file may be run.
                    if one.external_attr >> 16 & stat.S_IXUSR:
                        path.chmod(0o755)
        # Corrupted data raises errors of zlib, lzma, struct and others.
        except Exception as exc:  # noqa: BLE001
            shutil.rmtree(fresh, ignore_errors=True)
            raise ValueError(f"code: the zip file cannot be unpacked: {exc}") from None
        return fresh.rename(folder)

    def _source(self, label: str, source: Source, called: Qualified) -> Running | None:
        if isinstance(source, QueueSource):
            return _stream(self._cloud, source, called)
        if isinstance(source, BusSource):
            return _Rule(self._cloud, label, source, called)
        if isinstance(source, TopicSource):
            return TopicListener(self._cloud, source, called.trigger_async)
        if isinstance(source, TimerSource):
            return Timer(self._cloud, label.rpartition(".")[2], source, called.trigger_async)
        assert isinstance(source, HttpSource)  # noqa: S101 - requests reach the function through the service
        return None


class _Rule(FunctionRule):
    """A rule of an event bus that calls a function, and is deleted with its trigger."""

    def __init__(self, cloud: Cloud, name: str, source: BusSource, called: Qualified) -> None:
        self._name = name
        self._bus = cloud.buses[source.bus]
        check(source.pattern)
        if source.dead_letter_queue is not None:
            cloud.queues.get(source.dead_letter_queue)
        # The rule of the earlier trigger of this name, or one from a snapshot. Nothing can fail from here on.
        self._bus.rules.pop(name, None)
        super().__init__(
            cloud,
            name,
            source.pattern,
            invoke=called.trigger_async if source.is_async else called.trigger,
            bus=source.bus,
            retry=source.retry,
            dead_letter_queue=source.dead_letter_queue,
        )
        self._rule = self._bus.rules[name]

    def stop(self) -> None:
        super().stop()
        if self._bus.rules.get(self._name) is self._rule:
            del self._bus.rules[self._name]


def _stream(cloud: Cloud, source: QueueSource, called: Qualified) -> EventStream:
    return EventStream(
        cloud,
        queue=source.queue,
        invoke=called,
        batch_size=source.batch_size,
        batch_window_seconds=source.window_seconds,
        retry=source.retry,
        tolerance=source.tolerates_errors,
        dead_letter_queue=source.dead_letter_queue,
        mode="event-streaming" if source.is_stream else "event",
        event_schema=source.schema,
        decode_base64=source.decode_base64,
        asynchronous=source.is_async,
    )


def _key(name: str, version_id: str) -> str:
    return f"{name}:{version_id}" if version_id else name


def _number(members: JsonObject, name: str) -> float:
    value = members[name]
    return float(value) if isinstance(value, (int, float)) else 0.0


@cache
def find_python(runtime: str) -> str:
    """Return the interpreter of a runtime such as python3.10, or the present one if it is not on the path.

    A package contains compiled modules for the runtime's own version.
    """
    if runtime.removeprefix("python") == "{}.{}".format(*sys.version_info):
        return sys.executable
    found = shutil.which(runtime) if runtime != "python3" else None
    # The shims of version managers exist for versions that cannot be called.
    if found and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:  # noqa: S603
        return found
    return sys.executable
