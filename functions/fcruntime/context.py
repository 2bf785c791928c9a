"""The context objects of Function Compute's Python runtimes, and one typed view of either.

The context of runtimes up to python3.10 contains `credentials` and `service`. That of python3.12 contains neither;
credentials are in the environment there. No context contains the deadline. Layouts: the page "context" of the FC
documentation (help.aliyun.com/zh/functioncompute/fc/context-1).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import read_whole_number

if TYPE_CHECKING:
    from logging import Logger

TRIGGER_CEILING_SECONDS = 300.0
"""A call with the messages of a queue, topic or bus ends after five minutes, whatever the function's own time-out is.

The FC documentation states it in "advanced features of triggers", for the triggers of SMQ queues, RocketMQ, RabbitMQ,
Kafka and DTS. A call of an HTTP trigger, a timer or a client has the function's time-out only.
"""


@dataclass(frozen=True)
class FunctionInfo:
    """`context.function`. `timeout` is in seconds, `memory` in MB; FC writes either as int or str."""

    name: str = "hpoq"
    handler: str = "hpoq.handler.handler"
    memory: int = 512
    timeout: int = 60
    version_id: str = ""
    qualifier: str = "LATEST"


@dataclass(frozen=True)
class ContextCredentials:
    """`context.credentials`: temporary keys of the function's role, or empty strings if it has no role."""

    access_key_id: str = field(default="", repr=False)
    access_key_secret: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)

    # Other names that FC's runtimes up to python3.10 have for them.
    accessKeyId = property(operator.attrgetter("access_key_id"))  # noqa: N815
    accessKeySecret = property(operator.attrgetter("access_key_secret"))  # noqa: N815
    securityToken = property(operator.attrgetter("security_token"))  # noqa: N815


@dataclass(frozen=True)
class ServiceInfo:
    """`context.service` of FC 2.0. On FC 3.0 the name is empty."""

    name: str = ""
    log_project: str = ""
    log_store: str = ""
    qualifier: str = ""
    version_id: str = ""


@dataclass(frozen=True)
class TracingInfo:
    """`context.tracing`: empty if tracing is off.

    On FC 3.0 it exists for runtimes up to python3.10 and for custom runtimes.
    """

    span_context: str = ""
    span_baggages: Mapping[str, str] = field(default_factory=dict)
    jaeger_endpoint: str = ""


class _Logging:
    logger: None = None
    """None, as FC's is if an instance gets one request at a time."""

    def getLogger(self) -> Logger:  # noqa: N802 - the name that FC uses
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
    def requestId(self) -> str:  # noqa: N802 - another name that FC uses
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


def read_text(holder: object, name: str) -> str | None:
    """Return the text of an attribute, or None if it is missing, empty or not a text."""
    value = getattr(holder, name, None)
    return value if isinstance(value, str) and value else None


def read_credentials(context: object) -> ContextCredentials | None:
    """Return the credentials of a context, in the names of any runtime, or None if it has none.

    They may also be a mapping, as a test or another runtime may write them.
    """
    holder = getattr(context, "credentials", None)
    if holder is None:
        return None
    if isinstance(holder, Mapping):
        holder = SimpleNamespace(**holder)
    key_id = read_text(holder, "access_key_id") or read_text(holder, "accessKeyId")
    secret = read_text(holder, "access_key_secret") or read_text(holder, "accessKeySecret")
    if not key_id or not secret:
        return None
    token = read_text(holder, "security_token") or read_text(holder, "securityToken") or ""
    return ContextCredentials(key_id, secret, token)


@dataclass(frozen=True)
class Invocation:
    """What a context object contains about one call, whichever runtime made it.

    A member is None if the context does not contain it. `timeout_seconds` is the function's time-out.
    """

    request_id: str | None = None
    function_name: str | None = None
    memory_mb: int | None = None
    timeout_seconds: int | None = None
    region: str | None = None
    account_id: str | None = None
    credentials: ContextCredentials | None = None

    @classmethod
    def from_context(cls, context: object) -> Invocation:
        """Read `context`: an object of FC, one of this module, or None."""
        function = getattr(context, "function", None)
        return cls(
            request_id=read_text(context, "request_id") or read_text(context, "requestId"),
            function_name=read_text(function, "name"),
            memory_mb=read_whole_number(getattr(function, "memory", None)),
            timeout_seconds=read_whole_number(getattr(function, "timeout", None)),
            region=read_text(context, "region"),
            account_id=read_text(context, "account_id") or read_text(context, "accountId"),
            credentials=read_credentials(context),
        )


class Deadline:
    """When an invocation must have ended, on the clock `monotonic` in seconds.

    The time counts from the construction of this object, so construct it first in the handler. Time that a cold
    start took before is not included, because no runtime says when the invocation began.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.at = monotonic() + seconds

    @classmethod
    def from_invocation(
        cls, invocation: Invocation, monotonic: Callable[[], float], *, is_triggered: bool = True
    ) -> Deadline:
        """Return the deadline of `invocation`: the function's time-out, or five minutes if that is not known.

        If `is_triggered`, the call has the messages of a queue, topic or bus, and ends after five minutes at most.
        """
        seconds = float(invocation.timeout_seconds or 0)
        if seconds <= 0 or (is_triggered and seconds > TRIGGER_CEILING_SECONDS):
            seconds = TRIGGER_CEILING_SECONDS
        return cls(seconds, monotonic)

    def remaining(self) -> float:
        """Return the seconds left, never a negative number."""
        return max(0.0, self.at - self._monotonic())
