"""The content of a watch message, and the decisions about an experiment that is followed.

Nothing here reads a clock, a store or the network.

**How often.** The delay grows with the age of the experiment. One that ends at a random moment between two checks is
noticed after half of their distance, on average. With a growth of 15 % that is 7.5 % of its age; the first checks are
`min_seconds` apart. From an age of a little more than three hours on, `max_seconds` (1,800 s) bounds the delay.
"""

from __future__ import annotations

import json
import math
import re
from typing import TypeAlias

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.experiments import Experiment, is_experiment_id
from hpoq.contract.events import EventError
from hpoq.contract.identity import KEY_FORM
from hpoq.errors import Violation

UNREADABLE = EventError(code="WatchInvalid", message="this watch message cannot be read", retryable=False)
FORGED = EventError(
    code="WatchInvalid",
    message="this watch message names an experiment that the record of its request does not name",
    retryable=False,
)
MOVED = EventError(
    code="EndpointChanged",
    message="the experiment was created at another endpoint or by another account, and is not known here; set "
    "HPOQ_PAIAUTOML_ENDPOINT or HPOQ_REGION back until that experiment has ended",
    retryable=True,
)
# Statuses of the experiment that are ends. Any other one, also an unknown one, is followed.
ENDED = frozenset({"FINISHED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED", "NO_MORE_TRIAL"})
CANCELED = frozenset({"EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED"})
"""The ends to which a stop can lead."""
STOPPING = "TERMINATING"
"""The status of an experiment that is being stopped."""
ACTIVE_TRIALS = ("RUNNING", "WAITING")
"""The statuses of a trial that has not ended."""
UNRANKED_TRIALS = ("FAILED", "USER_CANCELED", "SYS_CANCELED", *ACTIVE_TRIALS)
"""The statuses of a trial that did not end by itself, so that its metric is not comparable with the others."""
_GROWTH = 0.15
_HOUR = 3600.0


@dataclass(frozen=True)
class WatchSchedule:
    """The waiting times between two checks of an experiment, and the age of the last check, in seconds."""

    min_seconds: float
    max_seconds: float
    max_age: float


@dataclass(frozen=True)
class GuardLimits:
    """The limits of a guard; None for those that it does not have."""

    max_hours: float | None = None
    max_failed_trials: int | None = None
    target_metric: float | None = None


@dataclass(frozen=True)
class WatchOrder:
    """An experiment that is followed to its end.

    `key` is that of the request that created it. `message_id`, `producer_key`, `name`, `workspace_id` and
    `traceparent` are what its events show of that request; `mode` is `maximize`, `minimize` or None. `place`
    identifies the endpoint and the account that have the experiment, None if they are not known. `created_at` is when
    the created event was composed, in seconds since the epoch. `last_status` is the service's at the last check, and
    `next_at` the time of the next one. `missing_since` is when the service first answered that there is no such
    experiment, None if it found it since.
    """

    key: str
    experiment_id: str
    created_at: float
    mode: str | None = None
    guard: GuardLimits | None = None
    message_id: str | None = None
    producer_key: str | None = None
    name: str | None = None
    workspace_id: str | None = None
    traceparent: str | None = None
    last_status: str | None = None
    next_at: float | None = None
    place: str | None = None
    missing_since: float | None = None

    @property
    def identity(self) -> str:
        """The text from which the key of kind `watch` derives."""
        return identify_watch(self.key, self.experiment_id)


@dataclass(frozen=True)
class Ended:
    """The experiment is no longer followed. `own` are the members that only its type of event has."""

    own: JsonObject
    warnings: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class CheckAgain:
    """The experiment is checked again after `delay` seconds. `error` is that of a failed call, or None."""

    order: WatchOrder
    delay: float
    error: EventError | None = None


CheckResult: TypeAlias = Ended | CheckAgain


def identify_watch(key: str, experiment_id: str) -> str:
    """Return the text from which the key of an experiment's watch record derives."""
    return f"{key}:{experiment_id}"


_TEXTS = {
    "messageId": "message_id",
    "producerKey": "producer_key",
    "name": "name",
    "workspaceId": "workspace_id",
    "traceparent": "traceparent",
    "lastStatus": "last_status",
    "mode": "mode",
    "place": "place",
}
_TIMES = {"nextAt": "next_at", "missingSince": "missing_since"}
_LIMITS = {
    "maxHours": "max_hours",
    "maxFailedTrials": "max_failed_trials",
    "targetMetric": "target_metric",
}


def encode_order(order: WatchOrder) -> str:
    """Return the content of the watch message as JSON text."""
    members: JsonObject = {
        "key": order.key,
        "experimentId": order.experiment_id,
        "createdAt": round(order.created_at, 3),
        **{member: getattr(order, name) for member, name in _TEXTS.items()},
    }
    for member, name in _TIMES.items():
        time = getattr(order, name)
        members[member] = None if time is None else round(time, 3)
    if order.guard is not None:
        members["guard"] = {member: getattr(order.guard, name) for member, name in _LIMITS.items()}
    watch: JsonObject = {name: value for name, value in members.items() if value is not None}
    return json.dumps({"watch": watch}, separators=(",", ":"))


def decode_order(text: str | bytes) -> WatchOrder | None:
    """Return the order in the content of a watch message, or None if it has another form."""
    try:
        document: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    watch = document.get("watch") if isinstance(document, dict) else None
    if not isinstance(watch, dict):
        return None
    key, experiment_id = watch.get("key"), watch.get("experimentId")
    created_at = _read_number(watch.get("createdAt"))
    if not isinstance(key, str) or not isinstance(experiment_id, str) or created_at is None:
        return None
    texts = {name: value for member, name in _TEXTS.items() if isinstance(value := watch.get(member), str)}
    if texts.get("mode", "maximize") not in ("maximize", "minimize"):
        return None
    next_at, missing_since = (_read_number(watch.get(member)) for member in _TIMES)
    guard = watch.get("guard")
    limits = read_guard_limits(guard) if isinstance(guard, dict) else None
    return WatchOrder(
        key, experiment_id, created_at, guard=limits, next_at=next_at, missing_since=missing_since, **texts
    )


def can_be_followed(order: WatchOrder) -> bool:
    """Return whether its key and the id of its experiment have a valid form: anybody can write a watch message."""
    return bool(re.fullmatch(KEY_FORM, order.key)) and is_experiment_id(order.experiment_id)


def read_guard_limits(guard: JsonObject) -> GuardLimits:
    """Return the limits in the wire form of a guard."""
    failed = guard.get("maxFailedTrials")
    return GuardLimits(
        _read_number(guard.get("maxHours")),
        failed if isinstance(failed, int) else None,
        _read_number(guard.get("targetMetric")),
    )


def _read_number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        return None
    return value


def has_ended(experiment: Experiment) -> bool:
    """Return whether the status of the experiment is an end.

    With NO_MORE_TRIAL its last trials may still run, as they may in the service's engine.
    """
    if experiment.status == "NO_MORE_TRIAL":
        return not any(count for status, count in experiment.trials or () if status in ACTIVE_TRIALS)
    return experiment.status in ENDED


def is_stopping(experiment: Experiment) -> bool:
    """Return whether the experiment is being stopped, or has ended."""
    return experiment.status == STOPPING or has_ended(experiment)


def count_failed(experiment: Experiment) -> int:
    """Return how many trials of the experiment have failed so far."""
    return sum(count for status, count in experiment.trials or () if status == "FAILED")


def find_reached_limit(
    guard: GuardLimits, mode: str | None, age: float, failed: int, best: float | None
) -> str | None:
    """Return the name of the limit that is reached, or None; `best` is the best final metric so far, if any."""
    if guard.max_hours is not None and age >= guard.max_hours * _HOUR:
        return "maxHours"
    if guard.max_failed_trials is not None and failed >= guard.max_failed_trials:
        return "maxFailedTrials"
    if guard.target_metric is not None and best is not None:
        is_reached = best <= guard.target_metric if mode == "minimize" else best >= guard.target_metric
        return "targetMetric" if is_reached else None
    return None


def plan_delay(order: WatchOrder, schedule: WatchSchedule, now: float) -> float:
    """Return the seconds from `now` until the next check, which is not after an age that ends the following."""
    age = max(0.0, now - order.created_at)
    delay = min(max(age * _GROWTH, schedule.min_seconds), schedule.max_seconds)
    ends = [schedule.max_age]
    if order.guard is not None and order.guard.max_hours is not None:
        ends.append(order.guard.max_hours * _HOUR)
    soon = [end - age for end in ends if 0 < end - age < delay]
    return max(min([delay, *soon]), 1.0)
