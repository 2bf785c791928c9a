"""The errors of Resource Manager."""

from __future__ import annotations

from alilocal.core.http import ServiceError


class MissingServiceName(ServiceError):
    """The parameter ServiceName is missing."""

    def __init__(self) -> None:
        super().__init__(400, "MissingParameter.ServiceName", "The parameter ServiceName is mandatory.")


class RoleExists(ServiceError):
    """The service has its role already."""

    def __init__(self, role: str) -> None:
        super().__init__(409, "EntityAlreadyExists.Role", f"The role already exists: {role}.")
