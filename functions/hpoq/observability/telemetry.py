"""What each invocation did, told when it ends: one line of the log, and OpenTelemetry where it is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from hpoq.clock import Clock
from hpoq.errors import SettingsError
from hpoq.observability.logs import get_logger
from hpoq.observability.measures import COUNTERS, Measures, Spans, measured

_MOST_SECONDS = 2.0


class Exporter(Spans, Protocol):
    """Where numbers and spans go beside the log."""

    def record(self, measures: Measures, *, cold_start: bool) -> None:
        """Add one invocation's numbers."""

    def flush(self, seconds: float) -> None:
        """Send what there is, within `seconds`."""

    def close(self) -> None:
        """Give up what it holds."""


def open_exporter(name: str) -> Exporter:
    """OpenTelemetry, for the function of that name. Raises SettingsError where the extra is not installed."""
    try:
        from hpoq.observability.otel import OpenTelemetry
    except ModuleNotFoundError as exc:
        raise SettingsError(["HPOQ_OPENTELEMETRY needs the extra hpoq[otel]"]) from exc
    return OpenTelemetry(name)


class Telemetry:
    """That of one instance of the function; its first invocation is the cold start."""

    def __init__(self, clock: Clock, exporter: Exporter | None = None) -> None:
        self._clock = clock
        self._exporter = exporter
        self._is_cold = True

    @contextmanager
    def invocation(self, seconds_left: Callable[[], float]) -> Iterator[Measures]:
        """Measure what runs within, and tell it however it ends; `seconds_left` bounds the telling."""
        cold, self._is_cold = self._is_cold, False
        measures = Measures(self._exporter)
        began = self._clock.monotonic()
        succeeded = False
        try:
            with measured(measures):
                yield measures
            succeeded = True
        finally:
            get_logger().info(
                "invocation",
                succeeded=succeeded,
                cold_start=cold,
                duration_ms=round((self._clock.monotonic() - began) * 1000, 3),
                messages={"total": sum(measures.outcomes.values()), **measures.outcomes},
                **{name: measures.counts[name] for name in COUNTERS},
                steps=measures.histograms(),
            )
            self._export(measures, cold, seconds_left)

    def close(self) -> None:
        """Give up the exporter."""
        if self._exporter is not None:
            self._exporter.close()

    def _export(self, measures: Measures, cold: bool, seconds_left: Callable[[], float]) -> None:  # noqa: FBT001
        if self._exporter is None:
            return
        try:
            self._exporter.record(measures, cold_start=cold)
            self._exporter.flush(min(_MOST_SECONDS, seconds_left() / 2))
        except Exception as exc:  # noqa: BLE001 - what was done counts, whoever hears of it
            get_logger().warning("telemetry.failed", error=type(exc).__name__)
