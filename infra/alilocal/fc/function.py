"""A function: its settings, and the instances that answer for it.

Instances: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/function-instance-lifecycle. A
built-in runtime answers one request at a time; an idle instance is kept for about five minutes and none for more
than 36 hours.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.instance import Answer, Instance
from alilocal.fc.result import Invocation, InvocationResult, Kind

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.fc.asynchronous import AsyncQueue

MOST_SYNC_BYTES, MOST_ASYNC_BYTES = 32 * 2**20, 128 * 1024
TRIGGER_SECONDS = 300
"""How long a call by a trigger may take, whatever the function's time-out. Whether Function Compute then ends
the call or only stops waiting for it is not documented; here it ends."""
_IDLE_SECONDS, _OLDEST_SECONDS = 300, 36 * 3600
_PRE_STOP_SECONDS = 90
_MOST_ENVIRONMENT_BYTES = 4096
_KEPT = 1000
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Runtime = Literal["python3.10", "python3.12"]


@dataclass(frozen=True)
class Settings:
    """What a function is created with; times in seconds, memory in MB.

    `runtime` decides the context: up to 3.10 with credentials and service, from 3.12 without; None goes by the
    interpreter. `role` names a role of the cloud's credentials whose policies the function has. With `reload`, idle
    instances are replaced when a file `*.py` below `code`, or below the folder that it names, has changed.
    """

    name: str
    handler: str
    code: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60
    memory: int = 512
    initializer: str | None = None
    initializer_timeout: float = 30
    pre_stop: str | None = None
    runtime: Runtime | None = None
    python: str = sys.executable
    max_instances: int = 1
    reload: bool | Path = False
    role: str | None = None
    max_async_retry_attempts: int = 3
    on_success: str | None = None
    on_failure: str | None = None
    on_output: Callable[[str], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.code.is_dir():
            raise ValueError(f"code: {self.code} is no folder")
        if self.timeout <= 0 or self.memory < 1 or self.max_instances < 1:
            raise ValueError("timeout, memory and max_instances must be positive")
        if not 0 <= self.max_async_retry_attempts <= 8:
            raise ValueError("max_async_retry_attempts must be between 0 and 8")
        for name in self.environment:
            if name.startswith("FC_") or not _VARIABLE.fullmatch(name):
                raise ValueError(f"environment: {name!r} cannot be the name of a variable of a function")
        if sum(len(name) + len(value) for name, value in self.environment.items()) > _MOST_ENVIRONMENT_BYTES:
            raise ValueError(f"environment: the variables exceed {_MOST_ENVIRONMENT_BYTES} bytes")


class PayloadTooLarge(ValueError):
    """An event that Function Compute would refuse; `most` is the limit in bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(f"an event must not exceed {most} bytes")


@dataclass(eq=False)
class _Kept:
    """An instance, and what decides whether it may answer again; times on the cloud's clock."""

    instance: Instance
    access_key_id: str
    born: float
    used: float
    code: object


class Function:
    """A function of the local cloud; its methods may be called from any thread."""

    def __init__(self, cloud: LocalCloud, settings: Settings) -> None:
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
        return self.settings.name

    @property
    def arn(self) -> str:
        return f"acs:fc:{self._cloud.region}:{self._cloud.account_id}:functions/{self.name}"

    @property
    def invocations(self) -> list[Invocation]:
        """The newest calls, oldest first; the last 1,000 are kept."""
        return list(self._invocations)

    @property
    def instances(self) -> int:
        """How many there are, busy or idle."""
        with self._free:
            return self._count

    def invoke(self, event: bytes, *, within: float | None = None) -> InvocationResult:
        """Call it and wait, no longer than its time-out and `within` seconds.

        Raises PayloadTooLarge, and RuntimeError once it is closed.
        """
        if len(event) > MOST_SYNC_BYTES:
            raise PayloadTooLarge(MOST_SYNC_BYTES)
        return self.call(event, self.new_request_id(), "sync", within=within)

    def invoke_async(self, event: bytes, *, within: float | None = None) -> str:
        """Have it called later, as `invoke` does; the request id."""
        if len(event) > MOST_ASYNC_BYTES:
            raise PayloadTooLarge(MOST_ASYNC_BYTES)
        return self._queue().accept(event, within)

    def trigger(self, event: bytes) -> InvocationResult:
        """`invoke`, as a trigger does it."""
        return self.invoke(event, within=TRIGGER_SECONDS)

    def trigger_async(self, event: bytes) -> str:
        """`invoke_async`, as a trigger does it."""
        return self.invoke_async(event, within=TRIGGER_SECONDS)

    def drain(self, timeout: float = 10.0) -> bool:
        """Wait until no asynchronous call is left; False if some are after `timeout` real seconds."""
        return self._async is None or self._async.drain(timeout)

    def call(
        self,
        event: bytes,
        request_id: str,
        kind: Kind,
        retry_count: int = 0,
        *,
        within: float | None = None,
    ) -> InvocationResult:
        """One invocation, on an instance that is free or new."""
        timeout = self.settings.timeout if within is None else min(within, self.settings.timeout)
        started = self._cloud.clock.now()
        kept, cold = self._take()
        try:
            answer = self._initialized(kept) if cold else None
            answer = answer or kept.instance.ask("invoke", request_id, event, timeout, retry_count)
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
        """As FC 3.0 writes it."""
        with self._cloud.changed:
            digits = self._cloud.ids.uuid().replace("-", "")
        return f"1-{digits[:8]}-{digits[8:16]}-{digits[16:28]}"

    def recycle(self) -> None:
        """End every idle instance, so that the next call is a cold start."""
        with self._free:
            idle, self._idle = self._idle, []
        for kept in idle:
            self._end(kept)

    def close(self) -> None:
        """Take nothing more, and end every instance, whatever it does; idempotent."""
        with self._free:
            self._closed = True
            for kept in self._busy:
                kept.instance.interrupt()
            self._free.notify_all()
        if self._async is not None:
            self._async.close()
        self.recycle()

    def _queue(self) -> AsyncQueue:
        from alilocal.fc.asynchronous import AsyncQueue

        with self._free:
            if self._closed:
                raise RuntimeError(f"the function {self.name} is closed")
            if self._async is None:
                self._async = AsyncQueue(self._cloud, self)
            return self._async

    def _take(self) -> tuple[_Kept, bool]:
        """An instance for one call, and whether it is new."""
        watched = self.settings.code if self.settings.reload is True else self.settings.reload
        code = _fingerprint(watched) if watched else None
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
            kept.instance.ask("pre_stop", self._cloud.ids.uuid(), b"", _PRE_STOP_SECONDS)
        kept.instance.close()
        with self._cloud.changed:
            self._cloud.credentials.forget(kept.access_key_id)
        self._forget()

    def _forget(self) -> None:
        with self._free:
            self._count -= 1
            self._free.notify()

    def _initialized(self, kept: _Kept) -> Answer | None:
        """Run the initializer, if there is one; what the call answers if that failed."""
        if not self.settings.initializer:
            return None
        timeout = self.settings.initializer_timeout
        hook = kept.instance.ask("initialize", self._cloud.ids.uuid(), b"", timeout)
        if hook.error_type is None:
            return None
        # The next call gets a new instance.
        kept.instance.kill()
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
        told: JsonObject = {
            "name": settings.name,
            "handler": settings.handler,
            "initializer": settings.initializer,
            "pre_stop": settings.pre_stop,
            "memory": settings.memory,
            "timeout": int(settings.timeout) or 1,
            "region": self._cloud.region,
            "account_id": self._cloud.account_id,
            "runtime": runtime,
            "credentials": list(keys),
        }
        environ = self._environ(instance_id, keys, runtime)
        instance = Instance(instance_id, settings.python, environ, told, settings.on_output)
        return _Kept(instance, key.access_key_id, now, now, code)

    def _environ(self, instance_id: str, keys: list[str], runtime: str) -> dict[str, str]:
        """What FC gives, and what the function was created with; nothing of this process."""
        settings = self.settings
        version = "FC_FUNCTION_VERSION" if runtime == "python3.12" else "FC_VER_ID"
        return {
            "PATH": os.defpath,
            "HOME": "/tmp",  # noqa: S108 - where an instance may write
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
            version: "LATEST",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": keys[0],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys[1],
            "ALIBABA_CLOUD_SECURITY_TOKEN": keys[2],
        }


def _fingerprint(folder: Path) -> object:
    """Changes with every change of a Python file below `folder`, hidden folders and virtual environments aside."""
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
