"""The configuration of triggers: which source calls a function, and how.

Members: the models of alibabacloud-fc20230330 4.8.3, and
https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/advanced-features-of-triggers. A configuration that
the local cloud cannot follow is refused with a message that names the member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Literal, TypeVar, cast, get_args

from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.core.retry import RetryStrategy
from alilocal.fc.errors import InvalidArgument
from alilocal.fc.switches import FunctionComputeSwitches

_EVERY = re.compile(r"@every (?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?")
_LEAST_SECONDS = 60
_FIELDS = (
    (0, 59, ""),
    (0, 59, ""),
    (0, 23, ""),
    (1, 31, ""),
    (1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    (0, 6, "SUN MON TUE WED THU FRI SAT"),
)
"""The least and the largest value of each field, from second to weekday, and the names of its values."""
_MOST_DAYS = 366 * 5


@dataclass(frozen=True)
class Schedule:
    """When a timer is due: `@every 5m`, or a cron expression with six fields that begin with the second.

    Times are UTC unless `CRON_TZ=<zone>` precedes the fields. Raises InvalidArgument for an invalid expression.
    Source: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/time-triggers.
    """

    expression: str

    def __post_init__(self) -> None:
        if self._interval is None:
            self._read_cron()

    def after(self, moment: float) -> float | None:
        """Return the first time after `moment` in seconds since the epoch, or None if there is none for years."""
        interval = self._interval
        if interval is not None:
            return moment + interval
        (seconds, minutes, hours, days, months, weekdays), zone = self._read_cron()
        first = datetime.fromtimestamp(int(moment) + 1, zone)
        day = first.replace(hour=0, minute=0, second=0)
        for _ in range(_MOST_DAYS):
            if day.month in months and day.day in days and day.isoweekday() % 7 in weekdays:
                for hour in hours:
                    for minute in minutes:
                        for second in seconds:
                            found = day.replace(hour=hour, minute=minute, second=second)
                            if found >= first:
                                return found.timestamp()
            day = (day + timedelta(days=1)).replace(hour=0)
        return None

    @property
    def _interval(self) -> int | None:
        if not self.expression.startswith("@"):
            return None
        found = _EVERY.fullmatch(self.expression)
        hours, minutes, seconds = (int(found[name] or 0) for name in "hms") if found else (0, 0, 0)
        total = hours * 3600 + minutes * 60 + seconds
        if total < _LEAST_SECONDS:
            raise InvalidArgument(
                f"cronExpression: {self.expression!r} is not an interval of at least a minute, such as @every 5m."
            )
        return total

    def _read_cron(self) -> tuple[list[list[int]], tzinfo]:
        """Return the values of each field, and the time zone. Raises InvalidArgument."""
        fields, zone = self.expression.split(), cast("tzinfo", timezone.utc)
        if fields and fields[0].startswith("CRON_TZ="):
            from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

            try:
                zone = ZoneInfo(fields.pop(0).partition("=")[2])
            except (ZoneInfoNotFoundError, ValueError):
                raise InvalidArgument(f"cronExpression: {self.expression!r} has an unknown zone.") from None
        if len(fields) != len(_FIELDS):
            raise InvalidArgument(
                f"cronExpression: {self.expression!r} must have six fields, from second to weekday."
            )
        return [self._read_field(text, *field) for text, field in zip(fields, _FIELDS, strict=True)], zone

    def _read_field(self, text: str, low: int, high: int, names: str) -> list[int]:
        values: set[int] = set()
        plain = text.upper()
        for number, name in enumerate(names.split(), low):
            plain = plain.replace(name, str(number))
        for part in plain.split(","):
            found = re.fullmatch(r"(?:\*|\?|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
            if found is None:
                raise InvalidArgument(f"cronExpression: {text!r} in {self.expression!r} is not valid.")
            begin = low if found[1] is None else int(found[1])
            last = int(found[2]) if found[2] else begin if found[1] and not found[3] else high
            step = int(found[3] or 1)
            if not (low <= begin <= last <= high and step):
                raise InvalidArgument(f"cronExpression: {text!r} in {self.expression!r} is out of range.")
            values |= set(range(begin, last + 1, step))
        return sorted(values)


TopicFormat = Literal["STREAM", "JSON"]
TYPES = ("eventbridge", "mns_topic", "timer", "http")
_DEFAULT_SOURCE = "Default"
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")
T = TypeVar("T", bound=str)


@dataclass(frozen=True)
class QueueSource:
    """An event stream from a queue, or with `is_stream` False single events through an event bus."""

    queue: str
    is_stream: bool = True
    schema: Literal["CloudEvents", "RawData"] = "CloudEvents"
    decode_base64: bool = True
    batch_size: int = 1
    window_seconds: float = 0.0
    retry: RetryStrategy = "EXPONENTIAL_DECAY_RETRY"
    tolerates_errors: bool = False
    dead_letter_queue: str | None = None
    is_async: bool = False


@dataclass(frozen=True)
class BusSource:
    """A rule of an event bus."""

    bus: str
    pattern: JsonObject
    retry: RetryStrategy = "EXPONENTIAL_DECAY_RETRY"
    dead_letter_queue: str | None = None
    is_async: bool = False


@dataclass(frozen=True)
class TopicSource:
    """A topic of SMQ, which calls asynchronously."""

    topic: str
    tag: str | None = None
    form: TopicFormat = "STREAM"


@dataclass(frozen=True)
class TimerSource:
    """A schedule, which calls asynchronously."""

    schedule: Schedule
    payload: str = ""


@dataclass(frozen=True)
class HttpSource:
    """HTTP requests; `is_anonymous` ones need no signature."""

    methods: tuple[str, ...]
    is_anonymous: bool


Source = QueueSource | BusSource | TopicSource | TimerSource | HttpSource


def change_config(kind: str, old: JsonObject, given: JsonObject) -> JsonObject:
    """Return the configuration of a trigger after an update with `given`; raises InvalidArgument.

    A trigger of EventBridge keeps the members that are not given, as the tests of the vendor's SDK for Go expect. It
    also keeps the type of its source, which an update does not change:
    https://help.aliyun.com/zh/functioncompute/fc-2-0/developer-reference/api-fc-open-2021-04-06-struct-eventsourceconfig.
    """
    if kind != "eventbridge":
        return given
    before, after = _object(old, "eventSourceConfig"), _object(given, "eventSourceConfig")
    source = {
        **before,
        **_present(after),
        "eventSourceType": _text(before, "eventSourceType", _DEFAULT_SOURCE),
    }
    return {**old, **_present(given), "eventSourceConfig": source}


def read_source(
    kind: str, config: JsonObject, source_arn: str, switches: FunctionComputeSwitches
) -> Source | None:
    """Return what a trigger of the type `kind` reacts to, or None if it is disabled; raises InvalidArgument."""
    config = _present(config)
    if kind == "eventbridge":
        source = _event_source(config, switches)
        return source if config.get("triggerEnable", True) else None
    if kind == "mns_topic":
        return _topic(config, source_arn)
    if kind == "timer":
        timer = TimerSource(Schedule(_text(config, "cronExpression")), _text(config, "payload", ""))
        return timer if config.get("enable", config.get("triggerEnable", False)) else None
    if kind == "http":
        return _http(config)
    raise InvalidArgument(f"triggerType: the local cloud has {', '.join(TYPES)}, and not {kind!r}.")


def _event_source(config: JsonObject, switches: FunctionComputeSwitches) -> QueueSource | BusSource:
    given = _object(config, "eventSourceConfig")
    kind = _text(given, "eventSourceType", _DEFAULT_SOURCE)
    run = _object(config, "runOptions")
    delivery = _object(_object(config, "eventSinkConfig"), "deliveryOption")
    strategy = _object(run, "retryStrategy").get("PushRetryStrategy") or switches.default_push_retry
    retry = _choice("retryStrategy.PushRetryStrategy", strategy, get_args(RetryStrategy))
    dead = str(_object(run, "deadLetterQueue").get("Arn") or "").rpartition("/")[2] or None
    is_async = bool(config.get("asyncInvocationType", False))
    if kind in ("Default", "EventBridge"):
        pattern = _pattern(config)
        return BusSource("default", pattern, cast("RetryStrategy", retry), dead, is_async)
    if kind != "MNS":
        raise InvalidArgument(
            f"eventSourceConfig.eventSourceType: the local cloud has MNS and Default, and not {kind!r}."
        )
    source = _object(_object(given, "eventSourceParameters"), "sourceMNSParameters")
    mode = str(run.get("mode") or delivery.get("mode") or switches.default_run_mode)
    tolerance = _choice("errorsTolerance", run.get("errorsTolerance") or "NONE", ("ALL", "NONE"))
    window = _object(run, "batchWindow")
    schema = _choice("eventSchema", delivery.get("eventSchema") or "CloudEvents", ("CloudEvents", "RawData"))
    return QueueSource(
        queue=_text(source, "QueueName"),
        is_stream=_choice("runOptions.mode", mode, ("event-streaming", "event-driven")) == "event-streaming",
        schema=cast("Literal['CloudEvents', 'RawData']", schema),
        decode_base64=source.get("IsBase64Decode") is not False,
        batch_size=int(_number(window, "CountBasedWindow") or 1),
        window_seconds=_number(window, "TimeBasedWindow"),
        retry=cast("RetryStrategy", retry),
        tolerates_errors=tolerance == "ALL",
        dead_letter_queue=dead,
        is_async=is_async,
    )


def _topic(config: JsonObject, source_arn: str) -> TopicSource:
    found = re.fullmatch(r"acs:mns:[^:]*:[^:]*:/topics/(?P<name>[^/]+)", source_arn)
    if found is None:
        raise InvalidArgument(
            f"sourceArn: {source_arn!r} is not the name of a topic, acs:mns:<region>:<account>:/topics/<name>."
        )
    form = _choice(
        "notifyContentFormat", config.get("notifyContentFormat") or "STREAM", get_args(TopicFormat)
    )
    tag = _text(config, "filterTag", "") or None
    return TopicSource(found["name"], tag, cast("TopicFormat", form))


def _http(config: JsonObject) -> HttpSource:
    methods = config.get("methods") or ["GET", "POST"]
    if not isinstance(methods, list):
        raise InvalidArgument("methods: must be a list.")
    names = tuple(_choice("methods", one, _METHODS) for one in methods)
    auth = _choice("authType", config.get("authType") or "function", ("anonymous", "function"))
    return HttpSource(names, auth == "anonymous")


def _pattern(config: JsonObject) -> JsonObject:
    try:
        pattern = load_json(_text(config, "eventRuleFilterPattern", "{}") or "{}")
    except ValueError:
        raise InvalidArgument("eventRuleFilterPattern: is not JSON.") from None
    if not isinstance(pattern, dict):
        raise InvalidArgument("eventRuleFilterPattern: must be an object.")
    return pattern


def _present(given: JsonObject) -> JsonObject:
    """Return the members that are not null, which clients for Go write for what is not set."""
    return {name: value for name, value in given.items() if value is not None}


def _object(given: Mapping[str, JsonValue], name: str) -> JsonObject:
    value = given.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name}: must be an object.")
    return value


def _text(given: Mapping[str, JsonValue], name: str, default: str | None = None) -> str:
    value = given.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (default is None and not value):
        raise InvalidArgument(f"{name}: must be a string.")
    return value


def _number(given: Mapping[str, JsonValue], name: str) -> float:
    value = given.get(name)
    if value is None:
        return 0.0
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidArgument(f"{name}: must be a number.")
    return value


def _choice(name: str, value: JsonValue, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InvalidArgument(f"{name}: {value!r} is not one of {', '.join(choices)}.")
    return str(value)
