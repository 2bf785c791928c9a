"""The errors of Function Compute.

Codes and statuses: https://www.alibabacloud.com/help/en/functioncompute/fc/developer-reference/error-codes, and the
codes that the vendor's tools compare with (`FC_API_ERROR_CODE` of the component fc3).
"""

from __future__ import annotations

from alilocal.core.http import ServiceError


class InvalidArgument(ServiceError):
    """A parameter is missing or invalid."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "InvalidArgument", message)


class NotFound(ServiceError):
    """A resource does not exist; `kind` is the first part of the code, such as `Function`."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(404, f"{kind}NotFound", f"{kind.lower()} '{name}' does not exist")


class AlreadyExists(ServiceError):
    """A resource with that name exists already; `kind` is the first part of the code."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(409, f"{kind}AlreadyExists", f"{kind.lower()} '{name}' already exists")


class Unchanged(ServiceError):
    """The function or service has not changed since its newest version was published.

    The vendor's tests of its SDKs demand an error, and programs know its code. The status is inferred.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            409, "VersionPublishError", f"{kind.lower()} '{name}' has not changed since its newest version"
        )


class NotEmpty(ServiceError):
    """A service of Function Compute 2.0 still has functions or versions."""

    def __init__(self, name: str, content: str) -> None:
        super().__init__(412, "ServiceNotEmpty", f"service '{name}' has {content}")


class TooManyRequests(ServiceError):
    """The function has as many calls at the same time as it may have."""

    def __init__(self, name: str, most: int) -> None:
        super().__init__(
            429, "ResourceExhausted", f"function '{name}' has reached its reserved concurrency of {most}"
        )


class PayloadTooLarge(ServiceError):
    """The event of a call exceeds the limit."""

    def __init__(self, most: int) -> None:
        super().__init__(413, "RequestEntityTooLarge", f"the event exceeds {most} bytes")


class InvocationDisabled(ServiceError):
    """Calls of the function were disabled."""

    def __init__(self, name: str) -> None:
        super().__init__(403, "InvocationDisabled", f"calls of function '{name}' are disabled")


class TaskExists(ServiceError):
    """An asynchronous task with that id exists already."""

    def __init__(self, task_id: str) -> None:
        super().__init__(409, "AsyncTaskAlreadyExists", f"asynchronous task '{task_id}' already exists")


class PreconditionFailed(ServiceError):
    """The resource has another ETag than the one in the header If-Match.

    The message is the one that the tests of the vendor's SDK for PHP expect.
    """

    def __init__(self) -> None:
        super().__init__(412, "PreconditionFailed", "the resource being modified has been changed")
