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
FAILURE: Walk = ((0, "FAILED"),)
RUNS_AFTER, ENDS_AFTER = WALK[-2][0], WALK[-1][0]
"""Seconds since creation at which an experiment begins to run, and at which it is done."""
TERMINAL = frozenset(
    {"FINISHED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED", "NO_MORE_TRIAL"}
)


def statuses(created: float, stopped: float | None, failed: float | None) -> list[tuple[float, str]]:
    """Every status that it has or will have, with the moment since which; seconds since the epoch."""
    ends = [(moment, walk) for moment, walk in ((stopped, STOP), (failed, FAILURE)) if moment is not None]
    found = [(created + after, status) for after, status in WALK]
    for start, walk in ends:
        found = [one for one in found if one[0] <= start]
        found += [(start + after, status) for after, status in walk]
    return found


def status_at(
    now: float, created: float, stopped: float | None, failed: float | None = None
) -> tuple[str, float]:
    """The status and the moment since which it holds, in seconds since the epoch."""
    every = statuses(created, stopped, failed)
    moment, status = [one for one in every if one[0] <= now][-1] if every[0][0] <= now else every[0]
    return status, moment
