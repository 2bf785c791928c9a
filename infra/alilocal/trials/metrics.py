"""The metrics of a trial: intermediate values, steps, and the final metric.

Source: https://github.com/alibaba/EasyRec, docs/source/automl/hpo_config.md. A step is complete when each metric has
one more value; its `default` is the sum of all values, each times its weight.
"""

from __future__ import annotations

import contextlib
import json
import math
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alilocal.core.jsonvalue import JsonObject, JsonValue

_MOST_JSON_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """How metrics are combined: weights by name, the modes, and whether a larger `default` is better."""

    weights: Mapping[str, float]
    final_mode: str
    source_mode: str
    maximize: bool


class Metrics:
    """The metrics of one trial, from `sources` sources."""

    def __init__(self, reading: Reading, sources: int) -> None:
        self._reading = reading
        self._values: list[dict[str, list[float]]] = [
            {name: [] for name in reading.weights} for _ in range(sources)
        ]
        self._steps = [0] * sources

    def add(self, source: int, name: str, value: float) -> JsonObject | None:
        """Add a value, and return the step that it completes, or None. What is not finite is ignored."""
        found = self._values[source]
        if not math.isfinite(value) or name not in found:
            return None
        found[name].append(value)
        step = self._steps[source]
        if any(len(values) <= step for values in found.values()):
            return None
        self._steps[source] += 1
        return self._row({one: values[step] for one, values in found.items()}, "PERIODICAL")

    def final(self) -> JsonObject | None:
        """Return the final metrics, or None if no source has values of all metrics, or their sum is not finite."""
        each = [self._final_of(values) for values in self._values if all(values.values())]
        if not each:
            return None
        return self._row(self._combine(each, self._reading.source_mode), "FINAL")

    @property
    def missing(self) -> list[str]:
        """The metrics without any value."""
        return [name for name in self._reading.weights if not any(one[name] for one in self._values)]

    def _final_of(self, values: Mapping[str, Sequence[float]]) -> dict[str, float]:
        lengths = {len(one) for one in values.values()}
        if self._reading.final_mode == "best" and len(lengths) == 1:
            steps = [{name: one[step] for name, one in values.items()} for step in range(lengths.pop())]
            return self._combine(steps, "best")
        return {name: self._pick(name, one) for name, one in values.items()}

    def _pick(self, name: str, values: Sequence[float]) -> float:
        """Return the final value of one metric by itself, for metrics that have different numbers of values."""
        if self._reading.final_mode == "avg":
            return sum(values) / len(values)
        if self._reading.final_mode == "best":
            return (
                max(values) if (self._reading.weights[name] >= 0) == self._reading.maximize else min(values)
            )
        return values[-1]

    def _combine(self, rows: Sequence[dict[str, float]], mode: str) -> dict[str, float]:
        if mode == "avg":
            return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        if mode == "best":
            choose: Callable[..., dict[str, float]] = max if self._reading.maximize else min
            return choose(rows, key=self._default)
        return rows[-1]

    def _default(self, values: Mapping[str, float]) -> float:
        return sum(self._reading.weights[name] * value for name, value in values.items())

    def _row(self, values: Mapping[str, float], kind: str) -> JsonObject | None:
        """Return a step in the service's form, or None if its sum is not finite, which JSON cannot express."""
        default = self._default(values)
        return {"default": default, **values, "type": kind} if math.isfinite(default) else None


def read_number(text: str) -> float | None:
    """Return the number in `text`, or None. `[0-9.]+` also matches the full stop of a sentence."""
    try:
        return float(text.strip().rstrip("."))
    except ValueError:
        return None


class JsonFile:
    """A file of metrics: a JSON object, a list of objects, or one object per line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0
        self._state = (0, 0)

    def read(self) -> Iterator[tuple[str, float]]:
        """Yield the values of the objects that are new since the last call."""
        objects = self._objects()
        for one in objects[self._seen :]:
            for name, value in one.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    # An integer may be larger than any float.
                    with contextlib.suppress(OverflowError):
                        yield name, float(value)
        self._seen = max(self._seen, len(objects))

    def _objects(self) -> list[JsonObject]:
        try:
            found = self._path.stat()
            state = found.st_mtime_ns, found.st_size
            # Reading from a pipe or a device might never end.
            if state == self._state or found.st_size > _MOST_JSON_BYTES or not stat.S_ISREG(found.st_mode):
                return []
            self._state = state
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        try:
            value: JsonValue = json.loads(text)
        except (ValueError, RecursionError):
            return [one for line in text.splitlines() if isinstance(one := _read_line(line), dict)]
        return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _read_line(line: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value
