"""Report what each invocation did when it ends: one log line, and OpenTelemetry if it is configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from hpoq.clock import Clock
from hpoq.errors import SettingsError
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import COUNTERS, Measures, Spans, collect_into

# A collector in the same region answers within milliseconds. One that takes longer is left alone for a while.
_MAX_FLUSH_SECONDS = 0.5


class Exporter(Spans, Protocol):
    """Receives numbers and spans in addition to the log."""

    def record(self, measures: Measures, *, cold_start: bool, succeeded: bool, seconds: float) -> None:
        """Add the numbers of one invocation, which took `seconds`."""

    def flush(self, seconds: float) -> None:
        """Send what was recorded, and wait at most `seconds` for it."""

    def close(self) -> None:
        """Release the exporter's resources within about 2 s."""


def open_exporter(name: str) -> Exporter:
    """Return the OpenTelemetry exporter of the function `name`.

    Raises SettingsError if the extra `hpoq[otel]` is not installed.
    """
    try:
        from hpoq.observability.otel import OpenTelemetry
    except ModuleNotFoundError as exc:
        raise SettingsError(
            ["HPOQ_OPENTELEMETRY is set, but OpenTelemetry is not installed. Install hpoq[otel]."]
        ) from exc
    return OpenTelemetry(name)


class Telemetry:
    """Reports the invocations of one instance of the function; the first one is its cold start."""

    def __init__(self, clock: Clock, exporter: Exporter | None = None) -> None:
        self._clock = clock
        self._exporter = exporter
        self._is_cold = True

    @contextmanager
    def invocation(self, seconds_left: Callable[[], float]) -> Iterator[Measures]:
        """Measure the body and report it, also if the body raises.

        Yields the invocation's numbers. `seconds_left` returns the time that the invocation still has; exporting
        takes at most half of it.
        """
        cold, self._is_cold = self._is_cold, False
        measures = Measures(self._exporter)
        began = self._clock.monotonic()
        succeeded = False
        try:
            with collect_into(measures):
                yield measures
            succeeded = True
        finally:
            seconds = self._clock.monotonic() - began
            get_logger().info(
                "invocation",
                succeeded=succeeded,
                cold_start=cold,
                duration_ms=round(seconds * 1000, 3),
                messages={"total": sum(measures.outcomes.values()), **measures.outcomes},
                **{name: measures.counts[name] for name in COUNTERS},
                steps=measures.histograms(),
            )
            if self._exporter is not None:
                try:
                    self._exporter.record(measures, cold_start=cold, succeeded=succeeded, seconds=seconds)
                    self._exporter.flush(min(_MAX_FLUSH_SECONDS, seconds_left() / 2))
                except Exception as exc:  # noqa: BLE001 - the messages are processed; a failed export must not undo that
                    get_logger().warning("telemetry.failed", error=type(exc).__name__)

    def close(self) -> None:
        """Close the exporter, if there is one."""
        if self._exporter is not None:
            self._exporter.close()
