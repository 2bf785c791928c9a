"""Tablestore's errors, with their documented codes and HTTP statuses.

Source: https://help.aliyun.com/en/tablestore/developer-reference/error-codes.
"""

from __future__ import annotations

from alilocal.core.http import ServiceError


class ParameterInvalid(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "OTSParameterInvalid", message)


class NotHere(ParameterInvalid):
    """A call needs a feature of the service that the local cloud does not have."""

    def __init__(self, feature: str, cause: str) -> None:
        super().__init__(f"The local cloud has no {feature}: {cause} is not supported.")


class InvalidKey(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "OTSInvalidPK", message)


class AuthFailed(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(403, "OTSAuthFailed", message)


class NoPermission(ServiceError):
    def __init__(self) -> None:
        super().__init__(
            403, "OTSNoPermissionAccess", "You have no permission to access the requested resource."
        )


class DataOutOfRange(ServiceError):
    """A row of an atomic batch has another partition key than the first."""

    def __init__(self, atomic: object, other: object) -> None:
        super().__init__(
            400,
            "OTSDataOutOfRange",
            f"Data out of scope of atomic. Atomic PartKey:{atomic}. Data PartKey:{other}",
        )


class ConditionCheckFail(ServiceError):
    def __init__(self) -> None:
        super().__init__(403, "OTSConditionCheckFail", "Condition check failed.")


class NoSuchTable(ServiceError):
    def __init__(self) -> None:
        super().__init__(404, "OTSObjectNotExist", "Requested table does not exist.")


class TableExists(ServiceError):
    def __init__(self) -> None:
        super().__init__(409, "OTSObjectAlreadyExist", "Requested table already exists.")


class TooManyTables(ServiceError):
    def __init__(self) -> None:
        super().__init__(403, "OTSQuotaExhausted", "Number of tables exceeded the quota.")


class TooFrequent(ServiceError):
    """Operations on tables exceed a rate limit."""

    def __init__(self) -> None:
        super().__init__(403, "OTSQuotaExhausted", "Too frequent table operations.")


class NotEnoughCapacity(ServiceError):
    """Operations on rows exceed a rate limit."""

    def __init__(self) -> None:
        super().__init__(403, "OTSNotEnoughCapacityUnit", "Remaining capacity unit is not enough.")


class MethodNotAllowed(ServiceError):
    def __init__(self) -> None:
        super().__init__(405, "OTSMethodNotAllowed", "Only POST method for requests is supported.")


class BodyTooLarge(ServiceError):
    def __init__(self) -> None:
        super().__init__(413, "OTSRequestBodyTooLarge", "The size of the request body is too large.")
