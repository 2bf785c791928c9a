"""The overview that `hpoq status` gives without a message: what is in each queue, and the last hour's outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from hpoq.clock import SystemClock
from hpoq.cloud.caller import RetryPolicy
from hpoq.errors import CallError
from hpoq.settings import Settings
from hpoqctl.logservice import LogService
from hpoqctl.queueclient import MOST_MESSAGES
from hpoqctl.services import (
    Target,
    explain_unreachable,
    find_credentials,
    name_dead_letter_queue,
    open_transport,
)

_LOGSTORE = "hpoq"
_HOUR = 3600.0
_ADVICE = {"deadLetters": "hpoq dead list shows them; after the cause is fixed: hpoq dead redrive"}


@dataclass(frozen=True)
class QueueState:
    """A queue now. `oldest` is when its oldest visible message arrived, in seconds since the epoch, if it has one.

    The counters are the service's own, which it keeps approximately. SMQ has announced that it will report 0 for
    them; `is_counted` is False if that can be seen, and `waiting` is then the number of messages that were looked at.
    `error` is why nothing is known.
    """

    role: str
    name: str
    waiting: int = 0
    in_flight: int = 0
    delayed: int = 0
    oldest: float | None = None
    error: str | None = None
    is_counted: bool = True

    def as_json(self) -> JsonObject:
        """Return the state for machines."""
        return {
            "role": self.role,
            "name": self.name,
            "waiting": self.waiting,
            "inFlight": self.in_flight,
            "delayed": self.delayed,
            "oldestAt": self.oldest,
            "counted": self.is_counted,
            "error": self.error,
        }


@dataclass(frozen=True)
class LastHour:
    """The number of messages with each outcome in the last hour, from the log, or why they are not known."""

    outcomes: Mapping[str, int] | None
    error: str | None = None

    def as_json(self) -> JsonObject:
        """Return the numbers for machines."""
        outcomes: JsonObject | None = None if self.outcomes is None else dict(self.outcomes)
        return {"outcomes": outcomes, "error": self.error}


def read_last_hour(target: Target, settings: Settings, url: str | None) -> LastHour:
    """Read the outcomes of the last hour from the log of the deployment, or from that of the project at `url`."""
    if url is None:
        if target.is_local:
            return LastHour(None, "the local cloud has no log project; its console shows the outcomes")
        if not target.account_id or not target.region:
            return LastHour(
                None,
                "the log's account and region are not known; give --log, or set HPOQ_ACCOUNT_ID and HPOQ_REGION",
            )
        suffix = f"-{settings.name}" if settings.name else ""
        project = f"hpoq-{target.account_id}-{target.region}{suffix}"
        url = f"https://{project}.{target.region}.log.aliyuncs.com"
    credentials = find_credentials(is_local=target.is_local)
    client = LogService(open_transport(), url, credentials, retry=RetryPolicy(attempts=1))
    try:
        now = SystemClock().now()
        return LastHour(client.count_outcomes(_LOGSTORE, now - _HOUR, now))
    except CallError as exc:
        return LastHour(None, str(exc))


def survey_queues(target: Target, settings: Settings) -> list[QueueState]:
    """Return the state of the queue of requests, of the dead-letter queue and, if it is set, of the watch queue."""
    named = {
        "requests": target.queue,
        "deadLetters": name_dead_letter_queue(settings),
        "watch": settings.watch_queue,
    }
    return [_survey(target, role, name) for role, name in named.items() if name]


def _survey(target: Target, role: str, name: str) -> QueueState:
    try:
        attributes = target.smq.get_queue_attributes(name)
        visible = target.smq.peek(name, count=MOST_MESSAGES)
    except CallError as exc:
        return QueueState(role, name, error=explain_unreachable(exc, target.endpoint))
    times = [message.enqueued_at / 1000 for message in visible if message.enqueued_at is not None]
    counters = (attributes.active_messages, attributes.inactive_messages, attributes.delayed_messages)
    waiting, in_flight, delayed = (counter or 0 for counter in counters)
    return QueueState(
        role,
        name,
        max(waiting, len(visible)),
        in_flight,
        delayed,
        min(times, default=None),
        is_counted=None not in counters and not (visible and not waiting),
    )


def format_overview(states: list[QueueState], hour: LastHour, now: float) -> Iterator[Text]:
    """Yield a line for each queue, one with advice for each that needs attention, and one for the last hour."""
    for state in states:
        if state.error is not None:
            yield Text(f"{state.name}: {state.error}", "red")
            continue
        numbers = f"{state.waiting} waiting, {state.in_flight} in flight, {state.delayed} delayed"
        if not state.is_counted:
            numbers = f"at least {state.waiting} waiting; SMQ does not count its messages"
        line = Text(f"{state.name}: {numbers}")
        if state.oldest is not None:
            line.append(f"; the oldest has waited for {format_duration(now - state.oldest)}")
        yield line
        if state.waiting and state.role in _ADVICE:
            yield Text(f"  {_ADVICE[state.role]}", "yellow")
    if hour.outcomes is None:
        yield Text(f"last hour: the log was not read ({hour.error})", "dim")
    else:
        yield Text("last hour: " + ", ".join(f"{count} {name}" for name, count in hour.outcomes.items()))


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit of which it has at least two: "90 s", "5 min", "3 h", "2 d"."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
