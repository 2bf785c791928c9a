"""Tablestore's errors, each with the code and HTTP status that it documents.

Source: https://help.aliyun.com/en/tablestore/developer-reference/error-codes.
"""

from __future__ import annotations

from alilocal.core.http import ServiceError


class ParameterInvalid(ServiceError):
    def __init__(self, message: str) -> None:
        super().__init__(400, "OTSParameterInvalid", message)


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


class MethodNotAllowed(ServiceError):
    def __init__(self) -> None:
        super().__init__(405, "OTSMethodNotAllowed", "Only POST method for requests is supported.")


class BodyTooLarge(ServiceError):
    def __init__(self) -> None:
        super().__init__(413, "OTSRequestBodyTooLarge", "The size of the request body is too large.")
