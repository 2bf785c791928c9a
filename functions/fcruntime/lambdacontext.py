"""Lambda's context, made from Function Compute's.

Members: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html. Only these are there: code that probes for
others, as Powertools does to find durable executions, must not find any.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from fcruntime.context import Deadline, Invocation


class LambdaContext:
    """What a Lambda handler gets as its context, on Function Compute.

    `memory_limit_in_mb` is in MB. `fc_context` is the context that it was made from; what that does not tell of the
    function is taken from FC's environment.
    """

    __slots__ = (
        "_deadline",
        "aws_request_id",
        "client_context",
        "fc_context",
        "function_name",
        "function_version",
        "identity",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "memory_limit_in_mb",
        "tenant_id",
    )

    function_name: str
    function_version: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    identity: None
    client_context: None
    tenant_id: None
    fc_context: object

    def __init__(self, fc_context: object, deadline: Deadline) -> None:
        invocation = Invocation.of(fc_context)
        function = getattr(fc_context, "function", None)
        qualifier = _text(function, "qualifier") or _text(function, "version_id") or "LATEST"
        self.function_name = invocation.function_name or os.environ.get("FC_FUNCTION_NAME", "")
        self.function_version = qualifier
        self.invoked_function_arn = _arn(invocation, self.function_name, qualifier)
        self.memory_limit_in_mb = invocation.memory_mb or _number("FC_FUNCTION_MEMORY_SIZE")
        self.aws_request_id = invocation.request_id or ""
        self.log_group_name = _log(fc_context, "log_project")
        self.log_stream_name = _log(fc_context, "log_store")
        self.identity = None
        self.client_context = None
        self.tenant_id = None
        self.fc_context = fc_context
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation must have ended, never negative."""
        return int(self._deadline.remaining() * 1000)


def lambda_context(fc_context: object, *, monotonic: Callable[[], float] = time.monotonic) -> LambdaContext:
    """Lambda's context from FC's, of either version or None; call it first thing in the invocation.

    The remaining time counts from this call, on the clock `monotonic` in seconds: no runtime of FC tells when an
    invocation began. It ends with the function's time-out, or the five minutes of a triggered call.
    """
    return LambdaContext(fc_context, Deadline.of(Invocation.of(fc_context), monotonic))


def _arn(invocation: Invocation, name: str, qualifier: str) -> str:
    """As FC itself names functions: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/ram."""
    region = invocation.region or os.environ.get("FC_REGION", "")
    account = invocation.account_id or os.environ.get("FC_ACCOUNT_ID", "")
    arn = f"acs:fc:{region}:{account}:functions/{name}"
    return arn if qualifier == "LATEST" else f"{arn}/{qualifier}"


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0


def _log(context: object, name: str) -> str:
    return _text(context, name) or _text(getattr(context, "service", None), name)


def _text(holder: object, name: str) -> str:
    value = getattr(holder, name, None)
    return value if isinstance(value, str) else ""
