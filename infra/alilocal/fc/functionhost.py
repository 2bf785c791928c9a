"""What the service asks of the machine that runs functions.

The service keeps functions as they are described, and knows no processes. A `FunctionHost`, which is built on the
whole cloud, runs what is `Deployed`, and calls it for triggers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from alilocal.core.jsonvalue import JsonObject
from alilocal.fc.model import InvocationResult
from alilocal.fc.triggerconfig import Source

LATEST = "LATEST"


@dataclass(frozen=True)
class AsyncSettings:
    """How asynchronous calls are repeated, and where their results go; destinations are resource names."""

    most_retries: int = 3
    most_age_seconds: int = 86_400
    on_success: str | None = None
    on_failure: str | None = None


@dataclass(frozen=True)
class Deployed:
    """A version of a function as it runs. Its instances are replaced when `revision` changes.

    `qualifier` is what the caller asked for, and `version_id` the version behind it, empty for the latest one.
    `members` are the function's settings in the form of the API.
    """

    name: str
    qualifier: str
    version_id: str
    revision: str
    members: JsonObject = field(repr=False)
    package: bytes = field(repr=False)
    checksum: str
    asynchronous: AsyncSettings = AsyncSettings()
    most_instances: int | None = None


class InstanceFacts(NamedTuple):
    """An instance that exists; `born` is in seconds since the epoch."""

    instance_id: str
    qualifier: str
    version_id: str
    born: float


class FunctionHost(Protocol):
    """Runs functions. All methods except `busy`, `instances` and `local` must be called without the cloud's lock."""

    def deploy(self, deployed: Deployed) -> None:
        """Make `deployed` callable; raises ValueError if its settings or its package cannot be used."""

    def invoke(self, deployed: Deployed, event: bytes, request_id: str) -> InvocationResult:
        """Call a function and wait for its result; raises ValueError as `deploy` does."""

    def invoke_async(self, deployed: Deployed, event: bytes, request_id: str, delay: float) -> None:
        """Accept a call that is made after `delay` seconds; raises ValueError as `deploy` does."""

    def busy(self, name: str) -> int:
        """Return the number of calls of a function that are running."""

    def instances(self, name: str) -> Sequence[InstanceFacts]:
        """Return the instances of all versions of a function."""

    def delete(self, name: str, version_id: str | None = None) -> None:
        """Forget a function or one of its versions, and end the instances."""

    def start_trigger(self, function: str, name: str, source: Source, find: Callable[[], Deployed]) -> None:
        """Call what `find` returns for the events of `source`, in place of an earlier trigger of that name.

        Raises ServiceError if the source does not exist.
        """

    def stop_trigger(self, function: str, name: str) -> None:
        """Make no further calls for a trigger."""

    def local(self, name: str) -> bool:
        """Return whether a function of that name was made in Python."""

    def invoke_local(self, name: str, event: bytes, request_id: str) -> InvocationResult:
        """Call a function that was made in Python; raises KeyError."""
