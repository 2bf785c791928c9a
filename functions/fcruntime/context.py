"""The context objects of Function Compute's Python runtimes, and one typed view of either.

Runtimes up to python3.10 hand over `credentials` and `service`; python3.12 has neither, and credentials come
from the environment there. No runtime tells the deadline. Layouts: the page "context" of the FC documentation
(help.aliyun.com/zh/functioncompute/fc/context-1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fcruntime.dataclass import dataclass, field

if TYPE_CHECKING:
    from logging import Logger

TRIGGER_CEILING_SECONDS = 300.0
"""A call made by a trigger ends after five minutes, whatever the function's own time-out (FC: advanced
features of triggers)."""


@dataclass(frozen=True)
class FunctionInfo:
    """`context.function`. `timeout` is in seconds, `memory` in MB; the cloud gives either as int or str."""

    name: str = "hpoq"
    handler: str = "hpoq.handler.handler"
    memory: int = 512
    timeout: int = 60
    version_id: str = ""
    qualifier: str = "LATEST"


@dataclass(frozen=True)
class ContextCredentials:
    """`context.credentials`: temporary keys of the function's role; empty strings without a role."""

    access_key_id: str = field(default="", repr=False)
    access_key_secret: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class ServiceInfo:
    """`context.service`, as FC 2.0 fills it; FC 3.0 leaves the name empty."""

    name: str = ""
    log_project: str = ""
    log_store: str = ""
    qualifier: str = ""
    version_id: str = ""


@dataclass(frozen=True)
class TracingInfo:
    """`context.tracing`; empty where tracing is off. FC 3.0 tells it to runtimes up to python3.10 and custom ones."""

    span_context: str = ""
    span_baggages: Mapping[str, str] = field(default_factory=dict)
    jaeger_endpoint: str = ""


class _Logging:
    logger: None = None
    """FC's is None too, where an instance has one request at a time."""

    def getLogger(self) -> Logger:  # noqa: N802 - FC's name for it
        from logging import getLogger

        return getLogger()


@dataclass(frozen=True)
class Fc2Context(_Logging):
    """The context of runtimes up to python3.10 (FC 2.0, and FC 3.0 with those runtimes)."""

    request_id: str
    function: FunctionInfo = field(default_factory=FunctionInfo)
    credentials: ContextCredentials = field(default_factory=ContextCredentials)
    service: ServiceInfo = field(default_factory=ServiceInfo)
    region: str = "cn-hangzhou"
    account_id: str = "1000000000000000"
    retry_count: int = 0
    tracing: TracingInfo = field(default_factory=TracingInfo)

    @property
    def requestId(self) -> str:  # noqa: N802 - FC's other name for it
        return self.request_id


@dataclass(frozen=True)
class Fc3Context(_Logging):
    """The context of python3.12 on FC 3.0: no credentials, no service."""

    request_id: str
    function: FunctionInfo = field(default_factory=FunctionInfo)
    region: str = "cn-hangzhou"
    account_id: str = "1000000000000000"
    log_project: str = ""
    log_store: str = ""


def _text(holder: object, name: str) -> str | None:
    value = getattr(holder, name, None)
    return value if isinstance(value, str) and value else None


def _whole(holder: object, name: str) -> int | None:
    value = getattr(holder, name, None)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None


def _credentials(context: object) -> ContextCredentials | None:
    holder = getattr(context, "credentials", None)
    key_id = _text(holder, "access_key_id") or _text(holder, "accessKeyId")
    secret = _text(holder, "access_key_secret") or _text(holder, "accessKeySecret")
    if not key_id or not secret:
        return None
    token = _text(holder, "security_token") or _text(holder, "securityToken") or ""
    return ContextCredentials(key_id, secret, token)


@dataclass(frozen=True)
class Invocation:
    """What one call tells about itself, read from whichever context object the runtime hands over.

    Every member is None where the context does not say. `timeout_seconds` is the function's time-out.
    """

    request_id: str | None = None
    function_name: str | None = None
    memory_mb: int | None = None
    timeout_seconds: int | None = None
    region: str | None = None
    account_id: str | None = None
    credentials: ContextCredentials | None = None

    @classmethod
    def of(cls, context: object) -> Invocation:
        """Read `context`: FC's own, one of this module's, or None."""
        function = getattr(context, "function", None)
        return cls(
            request_id=_text(context, "request_id") or _text(context, "requestId"),
            function_name=_text(function, "name"),
            memory_mb=_whole(function, "memory"),
            timeout_seconds=_whole(function, "timeout"),
            region=_text(context, "region"),
            account_id=_text(context, "account_id") or _text(context, "accountId"),
            credentials=_credentials(context),
        )


class Deadline:
    """When an invocation must have ended, on the clock `monotonic`, whose unit is seconds.

    Counted from its making, so make it first thing in the handler: what a cold start spent before is not
    known to any runtime.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.at = monotonic() + seconds

    @classmethod
    def of(cls, invocation: Invocation, monotonic: Callable[[], float]) -> Deadline:
        """The earlier of the function's time-out and the ceiling of a triggered call."""
        own = invocation.timeout_seconds
        seconds = min(float(own), TRIGGER_CEILING_SECONDS) if own and own > 0 else TRIGGER_CEILING_SECONDS
        return cls(seconds, monotonic)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self._monotonic())
