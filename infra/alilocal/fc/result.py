"""What became of an invocation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["sync", "async"]


@dataclass(frozen=True)
class InvocationResult:
    """An answer of Function Compute.

    `error_type` is the header `X-Fc-Error-Type`, None on success. `cold` says that the instance was made for this
    call. `log` is what the function wrote meanwhile, the last 4 KB of it, as FC's log tail.
    """

    request_id: str
    body: bytes = field(repr=False)
    error_type: str | None
    duration_ms: float
    max_memory_mb: int
    cold: bool
    instance_id: str
    log: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        return self.error_type is None


@dataclass(frozen=True)
class Invocation:
    """One call as it is kept; `started_at` is in seconds since the epoch, on the cloud's clock."""

    kind: Kind
    event: bytes = field(repr=False)
    started_at: float
    result: InvocationResult
