"""A function, and the instances that answer its calls.

Instances: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/function-instance-lifecycle. A
built-in runtime answers one request at a time. An idle instance is kept for about five minutes, and no instance for
more than 36 hours.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alilocal.cloud import Cloud
from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.asynchronous import AsyncQueue
from alilocal.fc.instance import Answer, Instance
from alilocal.fc.model import (
    MOST_ASYNC_BYTES,
    MOST_SYNC_BYTES,
    Invocation,
    InvocationResult,
    Kind,
    PayloadTooLarge,
    Settings,
)

TRIGGER_SECONDS = 300
"""How long a call by a trigger may take, even if the function's time-out is longer. Whether Function Compute then
ends the call or only stops waiting for it is not documented; here the call ends."""
_IDLE_SECONDS, _OLDEST_SECONDS = 300, 36 * 3600
_PRE_STOP_SECONDS = 90
_KEPT = 1000


@dataclass(eq=False)
class _Kept:
    """An instance with the facts that decide whether it may be used again; times on the cloud's clock."""

    instance: Instance
    access_key_id: str
    born: float
    used: float
    code: object


class Function:
    """A function of the local cloud. Its methods may be called from any thread."""

    def __init__(self, cloud: Cloud, settings: Settings) -> None:
        self._cloud = cloud
        self.settings = settings
        self._idle: list[_Kept] = []
        self._busy: list[_Kept] = []
        self._count = 0
        self._free = threading.Condition()
        self._closed = False
        self._invocations: deque[Invocation] = deque(maxlen=_KEPT)
        self._async: AsyncQueue | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.settings.name

    @property
    def arn(self) -> str:
        """The function's resource name."""
        return f"acs:fc:{self._cloud.region}:{self._cloud.account_id}:functions/{self.name}"

    @property
    def invocations(self) -> list[Invocation]:
        """The last 1,000 calls, oldest first."""
        return list(self._invocations)

    @property
    def instances(self) -> int:
        """The number of instances, busy and idle."""
        with self._free:
            return self._count

    @property
    def busy(self) -> int:
        """The number of calls that are running."""
        with self._free:
            return len(self._busy)

    @property
    def instance_births(self) -> list[tuple[str, float]]:
        """The id of each instance, and when it was started."""
        with self._free:
            return [(kept.instance.instance_id, kept.born) for kept in (*self._busy, *self._idle)]

    def change(self, settings: Settings) -> None:
        """Use other settings from the next call on. Running calls end with the earlier ones."""
        self.settings = settings

    def invoke(self, event: bytes, *, within: float | None = None) -> InvocationResult:
        """Call the function and wait for its result, at most for its time-out and for `within` seconds.

        Raises PayloadTooLarge, and RuntimeError once the function is closed.
        """
        if len(event) > MOST_SYNC_BYTES:
            raise PayloadTooLarge(MOST_SYNC_BYTES)
        return self.call(event, self.new_request_id(), "sync", within=within)

    def invoke_async(self, event: bytes, *, within: float | None = None) -> str:
        """Accept a call that is made later, and return its request id. Raises as `invoke` does."""
        request_id = self.new_request_id()
        self.accept(event, request_id, within=within)
        return request_id

    def accept(self, event: bytes, request_id: str, delay: float = 0, *, within: float | None = None) -> None:
        """Accept a call that is made after `delay` seconds. Raises as `invoke` does."""
        if len(event) > MOST_ASYNC_BYTES:
            raise PayloadTooLarge(MOST_ASYNC_BYTES)
        self._queue().accept(event, request_id, delay, within)

    def trigger(self, event: bytes) -> InvocationResult:
        """Call the function as a trigger does: like `invoke`, with the time limit of a trigger."""
        return self.invoke(event, within=TRIGGER_SECONDS)

    def trigger_async(self, event: bytes) -> str:
        """Accept a call as a trigger makes it: like `invoke_async`, with the time limit of a trigger."""
        return self.invoke_async(event, within=TRIGGER_SECONDS)

    def drain(self, timeout: float = 10.0) -> bool:
        """Wait until no asynchronous call is left; return False if some are left after `timeout` real seconds."""
        return self._async is None or self._async.drain(timeout)

    def call(
        self, event: bytes, request_id: str, kind: Kind, retry_count: int = 0, *, within: float | None = None
    ) -> InvocationResult:
        """Invoke the function once, on an idle or a new instance."""
        timeout = self.settings.timeout if within is None else min(within, self.settings.timeout)
        started, advanced = self._cloud.clock.now(), self._cloud.clock.advanced
        kept, cold = self._take()
        try:
            answer = self._run_initializer(kept) if cold else None
            answer = answer or kept.instance.ask(
                "invoke", request_id, event, timeout, retry_count, advanced=advanced
            )
        finally:
            self._give_back(kept)
        result = InvocationResult(
            request_id,
            answer.body,
            answer.error_type,
            answer.duration_ms,
            answer.memory_mb,
            cold,
            kept.instance.instance_id,
            answer.log,
        )
        self._invocations.append(Invocation(kind, event, started, result))
        return result

    def new_request_id(self) -> str:
        """Return a new request id in the form of FC 3.0."""
        with self._cloud.changed:
            digits = self._cloud.ids.uuid().replace("-", "")
        return f"1-{digits[:8]}-{digits[8:16]}-{digits[16:28]}"

    def recycle(self) -> None:
        """End every idle instance, so that the next call is a cold start."""
        with self._free:
            idle, self._idle = self._idle, []
        for kept in idle:
            self._end(kept)

    def crash(self) -> int:
        """Kill every busy instance, as if its machine had failed, and return how many there were."""
        with self._free:
            for kept in self._busy:
                kept.instance.interrupt()
            return len(self._busy)

    def kill(self, instance_id: str) -> None:
        """Kill the busy instance with that id, if there is one."""
        with self._free:
            for kept in self._busy:
                if kept.instance.instance_id == instance_id:
                    kept.instance.interrupt()

    def close(self) -> None:
        """Refuse further calls, and end every instance, busy ones included; idempotent."""
        with self._free:
            self._closed = True
            for kept in self._busy:
                kept.instance.interrupt()
            self._free.notify_all()
        if self._async is not None:
            self._async.close()
        self.recycle()

    def _queue(self) -> AsyncQueue:
        with self._free:
            if self._closed:
                raise RuntimeError(f"the function {self.name} is closed")
            if self._async is None:
                self._async = AsyncQueue(self._cloud, self)
            return self._async

    def _take(self) -> tuple[_Kept, bool]:
        """Return an instance for one call, and whether it is new; wait while all are busy."""
        watched = self.settings.code if self.settings.reload is True else self.settings.reload
        code = (self.settings.revision, _fingerprint(watched) if watched else None)
        stale: list[_Kept] = []
        try:
            with self._free:
                while True:
                    if self._closed:
                        raise RuntimeError(f"the function {self.name} is closed")
                    stale += [kept for kept in self._idle if not self._may_serve(kept, code)]
                    self._idle = [kept for kept in self._idle if self._may_serve(kept, code)]
                    if self._idle:
                        self._busy.append(self._idle.pop())
                        return self._busy[-1], False
                    if self._count - len(stale) < self.settings.max_instances:
                        self._count += 1
                        break
                    self._free.wait()
        finally:
            for kept in stale:
                self._end(kept)
        try:
            made = self._start(code)
        except BaseException:
            self._forget()
            raise
        with self._free:
            self._busy.append(made)
            if self._closed:
                made.instance.interrupt()
        return made, True

    def _may_serve(self, kept: _Kept, code: object) -> bool:
        now = self._cloud.clock.now()
        return now - kept.used < _IDLE_SECONDS and now - kept.born < _OLDEST_SECONDS and kept.code == code

    def _give_back(self, kept: _Kept) -> None:
        kept.used = self._cloud.clock.now()
        with self._free:
            self._busy.remove(kept)
            if kept.instance.alive and not self._closed:
                self._idle.append(kept)
                self._free.notify()
                return
        self._end(kept)

    def _end(self, kept: _Kept) -> None:
        if kept.instance.alive and self.settings.pre_stop:
            request_id, advanced = self._cloud.ids.uuid(), self._cloud.clock.advanced
            kept.instance.ask("pre_stop", request_id, b"", _PRE_STOP_SECONDS, advanced=advanced)
        kept.instance.close()
        with self._cloud.changed:
            self._cloud.credentials.forget(kept.access_key_id)
        self._forget()

    def _forget(self) -> None:
        with self._free:
            self._count -= 1
            self._free.notify()

    def _run_initializer(self, kept: _Kept) -> Answer | None:
        """Run the initializer, if there is one; return the call's answer if it failed, else None."""
        if not self.settings.initializer:
            return None
        timeout = self.settings.initializer_timeout
        advanced = self._cloud.clock.advanced
        hook = kept.instance.ask("initialize", self._cloud.ids.uuid(), b"", timeout, advanced=advanced)
        if hook.error_type is None:
            return None
        # FC does not use an instance whose initializer failed: the next call gets a new one. It is not killed,
        # because the stacks that its runtime would then log would hide the error.
        kept.instance.close()
        return Answer(hook.body, "InitializationError", hook.duration_ms, hook.memory_mb, hook.log)

    def _start(self, code: object) -> _Kept:
        settings, now = self.settings, self._cloud.clock.now()
        with self._cloud.changed:
            ids, credentials = self._cloud.ids, self._cloud.credentials
            instance_id = f"c-{ids.uuid()[:8]}-{ids.uuid()[:8]}-{ids.uuid()[:12].replace('-', '')}"
            role = settings.role or "fc-default"
            key = credentials.register(
                f"STS.{ids.token(24)}",
                ids.token(44),
                user_id=self._cloud.account_id,
                security_token=ids.token(120),
                arn=f"acs:ram::{self._cloud.account_id}:assumed-role/{role}/{instance_id}",
                granted=credentials.role_policies(role)[1],
            )
        runtime = settings.runtime or ("python3.12" if sys.version_info >= (3, 12) else "python3.10")
        keys = [key.access_key_id, key.access_key_secret, key.security_token or ""]
        description: JsonObject = {
            "name": settings.name,
            "handler": settings.handler,
            "initializer": settings.initializer,
            "pre_stop": settings.pre_stop,
            "memory": settings.memory,
            "timeout": int(settings.timeout) or 1,
            "region": self._cloud.region,
            "account_id": self._cloud.account_id,
            "runtime": runtime,
            "credentials": ["", "", ""] if "request" in settings.hides_keys_in else list(keys),
            "qualifier": settings.qualifier,
            "version_id": settings.version_id,
            "cloud_url": self._cloud.url if settings.reaches_cloud else None,
        }
        environ = self._environ(instance_id, keys, runtime)
        instance = Instance(instance_id, settings.python, environ, description, settings.on_output)
        return _Kept(instance, key.access_key_id, now, now, code)

    def _environ(self, instance_id: str, keys: list[str], runtime: str) -> dict[str, str]:
        """Return the variables that FC sets and those of the settings; none are inherited from this process."""
        settings = self.settings
        version = "FC_FUNCTION_VERSION" if runtime == "python3.12" else "FC_VER_ID"
        names = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
        secret = {f"ALIBABA_CLOUD_{name}": key for name, key in zip(names, keys, strict=True)}
        return {
            "PATH": os.defpath,
            "HOME": "/tmp",  # noqa: S108 - the folder that an instance may write to
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
            **settings.environment,
            "FC_FUNC_CODE_PATH": str(settings.code.resolve()),
            "FC_ACCOUNT_ID": self._cloud.account_id,
            "FC_FUNCTION_NAME": settings.name,
            "FC_FUNCTION_HANDLER": settings.handler,
            "FC_FUNCTION_MEMORY_SIZE": str(settings.memory),
            "FC_REGION": self._cloud.region,
            "FC_INSTANCE_ID": instance_id,
            version: settings.qualifier,
            **({} if "env" in settings.hides_keys_in else secret),
        }


def _fingerprint(folder: Path) -> object:
    """Return a value that changes with every change of a Python file in `folder`.

    Hidden folders and virtual environments are ignored.
    """
    found = []
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                with contextlib.suppress(OSError):
                    status = Path(place, name).stat()
                    found.append((place, name, status.st_mtime_ns, status.st_size))
    return sorted(found)


class Functions:
    """The functions of a cloud, by name: `create(name, handler=..., code=...)`, `[name]`, iteration."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._by_name: dict[str, Function] = {}

    def create(self, name: str, *, handler: str, code: str | os.PathLike[str], **settings: Any) -> Function:
        """Create a function that runs `handler` from the folder `code`; `settings` are those of `Settings`.

        Raises ValueError for invalid settings, and for a name that is taken.
        """
        return self.add(name, Settings(name, handler, Path(code), **settings))

    def add(self, key: str, settings: Settings) -> Function:
        """Create a function under `key`, which for a version differs from its name; raises ValueError if taken."""
        if key in self._by_name:
            raise ValueError(f"the function {key} exists already")
        self._by_name[key] = Function(self._cloud, settings)
        return self._by_name[key]

    def delete(self, name: str) -> None:
        """Delete a function and end its instances; raises KeyError if there is none of that name."""
        self._by_name.pop(name).close()

    def recycle(self) -> None:
        """End the idle instances of all functions."""
        for function in list(self._by_name.values()):
            function.recycle()

    def close(self) -> None:
        """Close all functions."""
        for function in list(self._by_name.values()):
            function.close()

    def __getitem__(self, name: str) -> Function:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Function]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)
