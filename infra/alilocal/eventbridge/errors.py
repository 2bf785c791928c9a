"""EventBridge's errors.

Codes of PutEvents: https://github.com/apache/rocketmq-eventbridge (EventBridgeErrorCode), because the cloud's own
table does not list them; all others: https://www.alibabacloud.com/help/en/eventbridge/developer-reference/error-codes.
"""

from __future__ import annotations

from alilocal.core.http import ServiceError


class EventRefused(ServiceError):
    """A call of PutEvents, or one of its events, is invalid; the HTTP status is a switch."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(409, code, message)


class NoSuchBus(EventRefused):
    def __init__(self, name: str) -> None:
        super().__init__("EventBusNotExist", f"The event bus [{name}] not existed!")


class BusExists(ServiceError):
    def __init__(self, name: str) -> None:
        super().__init__(409, "EventBusAlreadyExist", f"The event bus [{name}] already existed!")


class NoSuchRule(ServiceError):
    def __init__(self, name: str) -> None:
        super().__init__(409, "EventRuleNotExisted", f"The event rule [{name}] not existed!")


class RuleExists(ServiceError):
    def __init__(self, name: str) -> None:
        super().__init__(409, "EventRuleAlreadyExist", f"The event rule [{name}] already existed!")


class InvalidArgument(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "InvalidArgument", message)
