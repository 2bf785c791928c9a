"""The status of an experiment as a function of time: no thread moves it.

Statuses: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpoexperiments.
Their timing is undocumented.
"""

from __future__ import annotations

Walk = tuple[tuple[float, str], ...]

WALK: Walk = ((0, "CREATED"), (2, "WAITING"), (5, "RUNNING"), (60, "FINISHED"))
"""Seconds since creation, and the status from then on."""
STOP: Walk = ((0, "TERMINATING"), (3, "USER_CANCELED"))
"""Seconds since the stop, and the status from then on."""
TERMINAL = frozenset(
    {"FINISHED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED", "NO_MORE_TRIAL"}
)


def status_at(now: float, created: float, stopped: float | None) -> tuple[str, float]:
    """The status and the moment since which it holds, in seconds since the epoch."""
    walk, start = (WALK, created) if stopped is None else (STOP, stopped)
    reached = [(status, start + after) for after, status in walk if start + after <= now]
    return reached[-1] if reached else (walk[0][1], start)
