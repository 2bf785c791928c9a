"""The errors of STS.

Source: https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerole.
"""

from __future__ import annotations

from alilocal.core.http import ServiceError


class InvalidParameter(ServiceError):
    """A parameter is missing or invalid; `what` completes the code, such as `RoleArn`."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(400, f"InvalidParameter.{what}", message)


class MissingParameter(ServiceError):
    """A mandatory parameter is missing."""

    def __init__(self, name: str) -> None:
        super().__init__(400, f"Missing{name}", f"{name} is mandatory for this action.")


class NoSuchRole(ServiceError):
    """The role does not exist; `reason` is a further sentence."""

    def __init__(self, name: str, reason: str = "") -> None:
        super().__init__(404, "EntityNotExist.Role", f"The role not exists: {name}.{reason}")
