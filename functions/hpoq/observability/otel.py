"""Metrics and spans through OpenTelemetry; where to, its own variables say, `OTEL_EXPORTER_OTLP_ENDPOINT` first.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/. Providers that are set up already, by an
instrumentation for one, are used as they are. Needs the extra `hpoq[otel]`.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hpoq.observability.logs import get_logger
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, Measures

_SCOPE = "hpoq"
_BOUNDS = [bound / 1000 for bound in BOUNDS_MS]
_Provider = TypeVar("_Provider", MeterProvider, TracerProvider)


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        self.traceparent = carrier.get("traceparent", "")

    def tell(self, attributes: Mapping[str, str]) -> None:
        self._span.set_attributes(attributes)


class OpenTelemetry:
    """The exporters of one instance of the function, which is the resource `name`.

    Periods mean nothing where an instance is frozen between its events: `flush` sends.
    """

    def __init__(self, name: str) -> None:
        resource = Resource.create(
            {"service.name": name, "faas.name": name, "cloud.provider": "alibaba_cloud"}
        )
        meters, tracers = metrics.get_meter_provider(), trace.get_tracer_provider()
        self._made: list[MeterProvider | TracerProvider] = []
        self._meters = meters if isinstance(meters, MeterProvider) else self._kept(_meters(resource))
        self._tracers = tracers if isinstance(tracers, TracerProvider) else self._kept(_tracers(resource))
        self._sending = threading.Lock()
        self._tracer = self._tracers.get_tracer(_SCOPE)
        meter = self._meters.get_meter(_SCOPE)
        self._messages = meter.create_counter("hpoq.messages", "{message}", "Messages by outcome")
        self._colds = meter.create_counter("hpoq.cold_starts", "{start}", "Cold starts")
        self._counters = {
            name: meter.create_counter(f"hpoq.{name}", "{event}", name.replace("_", " ")) for name in COUNTERS
        }
        self._steps = meter.create_histogram(
            "hpoq.step.duration", "s", "Time that steps took", explicit_bucket_boundaries_advisory=_BOUNDS
        )

    @contextmanager
    def message(self, parent: str | None, attributes: Mapping[str, str]) -> Iterator[_Span]:
        """A span for one message, a consumer's."""
        context = propagate.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            "hpoq.message", context, trace.SpanKind.CONSUMER, attributes
        ) as span:
            yield _Span(span)

    def step(self, name: str) -> AbstractContextManager[object]:
        """A span for a step, below that of its message."""
        return self._tracer.start_as_current_span(f"hpoq.{name}")

    def record(self, measures: Measures, *, cold_start: bool) -> None:
        """Add one invocation's numbers."""
        for outcome, number in measures.outcomes.items():
            self._messages.add(number, {"outcome": outcome})
        self._colds.add(int(cold_start))
        for name, counter in self._counters.items():
            counter.add(measures.counts[name])
        for step, seconds in measures.seconds.items():
            for one in seconds:
                self._steps.record(one, {"step": step})

    def flush(self, seconds: float) -> None:
        """Send what there is, and wait for it `seconds` at most; what cannot be sent is logged by OpenTelemetry.

        Its own `force_flush` knows no time but the exporters', tens of seconds where a collector does not answer.
        """
        ends_at = time.monotonic() + seconds
        if not self._sending.acquire(timeout=max(0.0, seconds)):
            return
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._send,), name="hpoq-telemetry", daemon=True).start()
        if self._sending.acquire(timeout=max(0.0, ends_at - time.monotonic())):
            self._sending.release()

    def _send(self) -> None:
        try:
            self._meters.force_flush()
            self._tracers.force_flush()
        except Exception as exc:  # noqa: BLE001 - nobody may be waiting for it any more
            get_logger().warning("telemetry.failed", error=type(exc).__name__)
        finally:
            self._sending.release()

    def close(self) -> None:
        """End what was set up here."""
        for provider in self._made:
            provider.shutdown()

    def _kept(self, provider: _Provider) -> _Provider:
        self._made.append(provider)
        return provider


def _meters(resource: Resource) -> MeterProvider:
    return MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)


def _tracers(resource: Resource) -> TracerProvider:
    made = TracerProvider(resource=resource)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made
