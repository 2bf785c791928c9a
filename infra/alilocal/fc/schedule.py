"""The schedule of a timer: `@every 5m`, or a cron expression with six fields that begin with the second.

Source: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/time-triggers. Times are UTC unless
`CRON_TZ=<zone>` precedes the fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import cast

from alilocal.fc.errors import InvalidArgument

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
    """When a timer is due; raises InvalidArgument for an expression that is not valid."""

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
