"""SMQ's errors, with their documented codes and HTTP statuses.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/error-responses.
"""

from __future__ import annotations

from alilocal.core.http import ServiceError


class InvalidArgument(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "InvalidArgument", message)


class MalformedXml(ServiceError):
    def __init__(self, message: str = "The XML you provided was not well-formed.") -> None:
        super().__init__(400, "MalformedXML", message)


class InvalidQueryString(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "InvalidQueryString", message)


class InvalidName(ServiceError):
    """A name has invalid characters or is too long; `code` depends on that and on the kind of resource."""

    def __init__(self, code: str) -> None:
        super().__init__(400, code, "The name you provided is invalid.")


class EndpointInvalid(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "EndpointInvalid", message)


class AccessDenied(ServiceError):
    """RAM does not allow the call."""

    def __init__(self) -> None:
        super().__init__(
            403, "AccessDenied", "The OwnerId that your Access Key Id associated to is forbidden."
        )


class TooManyRequests(ServiceError):
    """A rate limit is exceeded.

    Source: https://www.alibabacloud.com/help/en/mns/developer-reference/flow-limiting-policy.
    """

    def __init__(self) -> None:
        super().__init__(
            429, "TooManyRequests", "The request is denied by cluster flow limiter for too many requests."
        )


class MissingReceiptHandle(ServiceError):
    def __init__(self) -> None:
        super().__init__(400, "MissingReceiptHandle", "ReceiptHandle is required.")


class MissingVisibilityTimeout(ServiceError):
    def __init__(self) -> None:
        super().__init__(400, "MissingVisibilityTimeout", "VisibilityTimeout is required.")


class ReceiptHandleError(ServiceError):
    def __init__(self) -> None:
        super().__init__(400, "ReceiptHandleError", "The receipt handle you provide is not valid.")


class MessageNotExist(ServiceError):
    def __init__(self) -> None:
        super().__init__(404, "MessageNotExist", "Message not exist.")


class NotExist(ServiceError):
    """The resource does not exist; `kind` is Queue, Topic or Subscription."""

    def __init__(self, kind: str) -> None:
        super().__init__(404, f"{kind}NotExist", f"The {kind.lower()} name you provided is not exist.")


class AlreadyExist(ServiceError):
    """The resource exists with other attributes; `kind` is Queue, Topic or Subscription."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            409, f"{kind}AlreadyExist", f"The {kind.lower()} you want to create is already exist."
        )
