"""The errors that PAI AutoML itself reports, as opposed to its gateway.

The codes are those of the published examples; the service publishes no list.
"""

from __future__ import annotations

from alilocal.core.http import ServiceError
from alilocal.core.service import not_supported

SERVICE_ROLE = "AliyunServiceRoleForPaiAutoml"


class ExperimentError(ServiceError):
    """An error of the service. Its HTTP status is undocumented, and therefore a switch."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(400, code, message)


class InvalidInput(ExperimentError):
    """A parameter is missing or invalid."""

    def __init__(self, message: str) -> None:
        super().__init__("INVALID_INPUT_PARAMS", message)


class NoSuchExperiment(ExperimentError):
    """The caller can see no experiment with that id."""

    def __init__(self, experiment_id: str) -> None:
        super().__init__("INVALID_USER_OR_EXP", f"Invalid user or experiment '{experiment_id}'.")


class NoServiceRole(ExperimentError):
    """The account has no service-linked role yet; the form of this error is undocumented."""

    def __init__(self) -> None:
        super().__init__("EXECUTION_FAILURE", f"The role {SERVICE_ROLE} does not exist.")


class StillRuns(ExperimentError):
    """The experiment must end before it can be deleted; the form of this error is undocumented."""

    def __init__(self, experiment_id: str) -> None:
        super().__init__("EXECUTION_FAILURE", f"The experiment '{experiment_id}' is not stopped.")


class Unsupported(ExperimentError):
    """The operation exists in the cloud but not here."""

    def __init__(self, operation: str) -> None:
        super().__init__("UNSUPPORTED_OPERATION", not_supported(operation))
