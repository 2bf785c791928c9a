"""A function's settings, and the results of its invocations."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MOST_SYNC_BYTES, MOST_ASYNC_BYTES = 32 * 2**20, 128 * 1024
_MOST_ENVIRONMENT_BYTES = 4096
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Kind = Literal["sync", "async"]
Runtime = Literal["python3.10", "python3.12"]


@dataclass(frozen=True)
class Settings:
    """The settings of a function; times in seconds, memory in MB.

    `runtime` selects the form of the context: up to Python 3.10 it has credentials and a service, from 3.12 on it
    has neither. None selects by the interpreter's version. `role` names a role of `cloud.credentials` whose
    policies apply to the function. With `reload`, idle instances are replaced when a `*.py` file in the folder
    `code` (or in the folder that `reload` names) has changed. `qualifier` and `version_id` are what the context
    contains. An instance of another `revision` is replaced before the next call. With `reaches_cloud`, connections
    to Alibaba Cloud's hosts end at the local cloud, if that is on a port. `hides_keys_in` names the places without
    the temporary keys: the variables (`env`) and the context (`request`).
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
    most_async_age_seconds: float = 86_400
    qualifier: str = "LATEST"
    version_id: str = ""
    revision: str = ""
    reaches_cloud: bool = False
    hides_keys_in: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.code.is_dir():
            raise ValueError(f"code: {self.code} is not a folder")
        if self.timeout <= 0 or self.memory < 1 or self.max_instances < 1:
            raise ValueError("timeout, memory and max_instances must be positive")
        if not 0 <= self.max_async_retry_attempts <= 8:
            raise ValueError("max_async_retry_attempts must be between 0 and 8")
        check_environment(self.environment)


def check_environment(variables: Mapping[str, str]) -> None:
    """Raise ValueError for environment variables that Function Compute refuses."""
    for name, value in variables.items():
        if name.startswith("FC_") or not _VARIABLE.fullmatch(name):
            raise ValueError(f"environment: {name!r} is not a valid name for a function's variable")
        if "\0" in value:
            raise ValueError(f"environment: the value of {name!r} contains a null character")
    if sum(len(name) + len(value.encode()) for name, value in variables.items()) > _MOST_ENVIRONMENT_BYTES:
        raise ValueError(f"environment: the variables exceed {_MOST_ENVIRONMENT_BYTES} bytes")


class PayloadTooLarge(ValueError):
    """An event exceeds Function Compute's limit; `most` is the limit in bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(f"an event must not exceed {most} bytes")


@dataclass(frozen=True)
class InvocationResult:
    """An answer of Function Compute.

    `error_type` is the value of the header `X-Fc-Error-Type`, or None on success. `cold` is True if the instance
    was started for this call. `log` holds the last 4 KB that the function wrote, like FC's log tail.
    """

    request_id: str
    body: bytes = field(repr=False)
    error_type: str | None
    duration_ms: float
    max_memory_mb: int
    cold: bool
    instance_id: str
    log: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the invocation succeeded."""
        return self.error_type is None


@dataclass(frozen=True)
class Invocation:
    """A recorded call of a function; `started_at` is in seconds since the epoch, on the cloud's clock."""

    kind: Kind
    event: bytes = field(repr=False)
    started_at: float
    result: InvocationResult
