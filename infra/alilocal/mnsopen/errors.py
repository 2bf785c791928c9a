"""The errors of SMQ's management API. Missing resources have the codes of SMQ itself, such as QueueNotExist."""

from __future__ import annotations

from alilocal.core.http import ServiceError


class InvalidParameter(ServiceError):
    """A parameter is missing or invalid."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(400, "InvalidParameter", f"{name}: {problem}")
