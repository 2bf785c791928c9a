"""Export metrics and spans with OpenTelemetry. Needs the extra `hpoq[otel]`.

    message ─▶ step ─▶ call     spans, below the producer's
    record                      numbers of an invocation
    flush, close                send what was recorded, without making the function wait for a collector

The destination is set by OpenTelemetry's own variables, first of all `OTEL_EXPORTER_OTLP_ENDPOINT`
(https://opentelemetry.io/docs/specs/otel/protocol/exporter/). Providers that are already installed, for example by an
auto-instrumentation, are used unchanged. Names follow the semantic conventions where they have one
(https://opentelemetry.io/docs/specs/semconv/); all others begin with `hpoq.`.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from hpoq.observability.logs import get_logger
from hpoq.observability.measures import BOUNDS_MS, COUNTERS, Call, Measures

_SCOPE = "hpoq"
_PROCESS = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
# An exporter's own default is 10 s for each try, and it tries again.
_EXPORT_SECONDS = 2
_CLOSE_SECONDS = 1.5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 30.0, 300.0
_BOUNDS = [bound / 1000 for bound in BOUNDS_MS]
_Provider = TypeVar("_Provider", MeterProvider, TracerProvider)
_T = TypeVar("_T")


class _Breaker:
    """Pauses sending to a collector: for 30 s after it failed, and twice as long after each further failure."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pause = 0.0
        self._until = 0.0

    def is_open(self) -> bool:
        """Return whether nothing should be sent now."""
        return self._monotonic() < self._until

    def record(self, *, is_success: bool, error: str = "") -> None:
        """Note how sending ended."""
        if self.is_open():
            # An answer that comes too late does not end the pause: the next event would wait for it again.
            return
        if is_success:
            self._pause = 0.0
        else:
            self._pause = min(max(_FIRST_PAUSE_SECONDS, self._pause * 2), _LONGEST_PAUSE_SECONDS)
            self._until = self._monotonic() + self._pause
            get_logger().warning("telemetry.failed", error=error, pause_seconds=self._pause)


class _SpanExporter(OTLPSpanExporter):
    def __init__(self, breaker: _Breaker) -> None:
        super().__init__(timeout=_export_seconds("TRACES"))
        self._breaker = breaker

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._breaker.is_open():
            return SpanExportResult.FAILURE
        result = super().export(spans)
        self._breaker.record(is_success=result is SpanExportResult.SUCCESS, error="spans were not accepted")
        return result


class _MetricExporter(OTLPMetricExporter):
    def __init__(self, breaker: _Breaker) -> None:
        super().__init__(timeout=_export_seconds("METRICS"))
        self._breaker = breaker

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: object
    ) -> MetricExportResult:
        if self._breaker.is_open():
            return MetricExportResult.FAILURE
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self._breaker.record(
            is_success=result is MetricExportResult.SUCCESS, error="metrics were not accepted"
        )
        return result


def _silence_library() -> None:
    """Keep OpenTelemetry's own messages out of the function's log, where `telemetry.failed` reports a failure.

    They quote the headers that cannot be read, and the URL of a collector that does not answer. The URLs of Alibaba
    Cloud's own collectors contain the token
    (https://help.aliyun.com/en/opentelemetry/user-guide/before-you-begin-before-you-begin).
    """
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


def _export_seconds(signal: str) -> int | None:
    """Return the time-out of an export, or None if OpenTelemetry's own variables set it."""
    names = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT")
    return None if any(os.environ.get(name) for name in names) else _EXPORT_SECONDS


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        self.traceparent = carrier.get("traceparent", "")

    def set_attributes(self, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes(attributes)


class _NoSpan:
    """Stands in for a span that could not be opened. Passes on the trace of its request."""

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def set_attributes(self, attributes: Mapping[str, str | int]) -> None:
        """Do nothing."""


class _Guarded(Generic[_T]):
    """Opens `span`, and logs what that raises or what its end raises: a lost span must not fail its message.

    The processors of a provider that was installed before may raise anything. `otherwise` is yielded if the span
    could not be opened.
    """

    def __init__(self, span: AbstractContextManager[_T], otherwise: _T) -> None:
        self._span = span
        self._otherwise = otherwise

    def __enter__(self) -> _T:
        try:
            return self._span.__enter__()
        except Exception as exc:  # noqa: BLE001 - as the class says
            self._span = nullcontext(self._otherwise)
            get_logger().warning("telemetry.failed", error=type(exc).__name__)
            return self._otherwise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._span.__exit__(kind, exc, trace)
        except Exception as failure:  # noqa: BLE001 - as the class says
            get_logger().warning("telemetry.failed", error=type(failure).__name__)


class _Instruments:
    def __init__(self, meter: metrics.Meter) -> None:
        self.messages = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Messages by outcome"
        )
        self.cold_starts = meter.create_counter("faas.coldstarts", "{coldstart}", "Cold starts")
        self.invocations = meter.create_counter(
            "faas.invocations", "{invocation}", "Invocations that succeeded"
        )
        self.errors = meter.create_counter("faas.errors", "{error}", "Invocations that failed")
        self.counters = {
            name: meter.create_counter(f"hpoq.{name}", "{event}", name.replace("_", " ")) for name in COUNTERS
        }
        self.processing, self.durations, self.calls, self.steps = (
            meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=_BOUNDS)
            for name, description in (
                ("messaging.process.duration", "Duration of processing a message"),
                ("faas.invoke_duration", "Duration of an invocation"),
                ("http.client.request.duration", "Duration of a service call"),
                ("hpoq.step.duration", "Duration of each step"),
            )
        )


class OpenTelemetry:
    """The exporters of one instance of the function, as the OpenTelemetry resource `name`.

    An instance is frozen between its events, so exporting at intervals does not work: `flush` sends. A collector that
    does not answer delays at most one event in 30 s.
    """

    def __init__(self, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        _silence_library()
        resource = Resource.create(
            {"service.name": name, "faas.name": name, "cloud.provider": "alibaba_cloud"}
        )
        meters, tracers = metrics.get_meter_provider(), trace.get_tracer_provider()
        self._breaker = _Breaker(monotonic)
        self._own_providers: list[MeterProvider | TracerProvider] = []
        self._meters = (
            meters
            if isinstance(meters, MeterProvider)
            else self._own(_new_meter_provider(resource, self._breaker))
        )
        self._tracers = (
            tracers
            if isinstance(tracers, TracerProvider)
            else self._own(_new_tracer_provider(resource, self._breaker))
        )
        self._sending = threading.Lock()
        self._tracer = self._tracers.get_tracer(_SCOPE)
        self._numbers = _Instruments(self._meters.get_meter(_SCOPE))

    def message(
        self, parent: str | None, attributes: Mapping[str, str]
    ) -> AbstractContextManager[_Span | _NoSpan]:
        """Open a consumer span for one message."""
        return _Guarded[_Span | _NoSpan](self._open_message(parent, attributes), _NoSpan(parent or ""))

    def step(self, name: str) -> AbstractContextManager[_Span | _NoSpan]:
        """Open a span for a step, below the span of its message."""
        return _Guarded[_Span | _NoSpan](self._open_step(name), _NoSpan())

    def call(self, call: Call) -> AbstractContextManager[None]:
        """Open a client span for a service call, and record its duration."""
        return _Guarded(self._open_call(call), None)

    @contextmanager
    def _open_message(self, parent: str | None, attributes: Mapping[str, str]) -> Iterator[_Span]:
        context = propagate.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            "process", context, trace.SpanKind.CONSUMER, {**_PROCESS, **attributes}
        ) as span:
            yield _Span(span)

    @contextmanager
    def _open_step(self, name: str) -> Iterator[_Span]:
        with self._tracer.start_as_current_span(f"hpoq.{name}") as span:
            yield _Span(span)

    @contextmanager
    def _open_call(self, call: Call) -> Iterator[None]:
        server = urlsplit(call.url)
        attributes: dict[str, str | int] = {
            "http.request.method": call.method,
            "server.address": server.hostname or "",
            "server.port": server.port or 443,
        }
        began = time.monotonic()
        with self._tracer.start_as_current_span(
            f"{call.method} {call.operation}",
            kind=trace.SpanKind.CLIENT,
            attributes={**attributes, "rpc.service": call.service, "rpc.method": call.operation},
            record_exception=False,
        ) as span:
            try:
                yield
            finally:
                ended: dict[str, str | int] = {}
                if call.status is not None:
                    ended["http.response.status_code"] = call.status
                if call.status is None or call.status >= 400:
                    ended["error.type"] = str(call.status or "no_response")
                    span.set_status(trace.StatusCode.ERROR)
                span.set_attributes(ended)
                self._numbers.calls.record(time.monotonic() - began, {**attributes, **ended})

    def record(self, measures: Measures, *, cold_start: bool, succeeded: bool, seconds: float) -> None:
        """Add the numbers of one invocation, which took `seconds`."""
        source = {"messaging.system": measures.source or "unknown", "messaging.operation.name": "process"}
        for outcome, number in measures.outcomes.items():
            self._numbers.messages.add(number, {**source, "hpoq.outcome": outcome})
        self._numbers.cold_starts.add(int(cold_start))
        (self._numbers.invocations if succeeded else self._numbers.errors).add(1)
        self._numbers.durations.record(seconds)
        for name, counter in self._numbers.counters.items():
            counter.add(measures.counts[name])
        for step, durations in measures.seconds.items():
            for one in durations:
                self._numbers.steps.record(one, {"hpoq.step": step})
                if step == "message":
                    self._numbers.processing.record(one, source)

    def flush(self, seconds: float) -> None:
        """Send what was recorded in the background, and wait at most `seconds` for it.

        An instance is frozen once its event has ended, so a send that is not awaited may never finish. But a
        collector that does not answer must not slow the function down: after a wait that was too short, and after a
        failure, events neither send nor wait for a while. What is recorded meanwhile is sent later, as far as
        OpenTelemetry's buffer holds it.
        """
        if self._breaker.is_open() or not self._sending.acquire(blocking=False):
            return
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(self._send,), name="hpoq-telemetry", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._sending.release()
            raise
        if self._sending.acquire(timeout=max(0.0, seconds)):
            self._sending.release()
        else:
            self._breaker.record(is_success=False, error=f"no answer within {seconds:g} s")

    def _send(self) -> None:
        try:
            self._meters.force_flush()
            self._tracers.force_flush()
        except Exception as exc:  # noqa: BLE001 - nothing may be waiting for this thread any more
            self._breaker.record(is_success=False, error=type(exc).__name__)
        finally:
            self._sending.release()

    def close(self) -> None:
        """Shut down the providers that this object created, for at most 1.5 s: PreStop may take only so long."""
        thread = threading.Thread(target=self._shut_down, name="hpoq-telemetry-close", daemon=True)
        thread.start()
        thread.join(_CLOSE_SECONDS)

    def _shut_down(self) -> None:
        for provider in self._own_providers:
            provider.shutdown()

    def _own(self, provider: _Provider) -> _Provider:
        self._own_providers.append(provider)
        return provider


def _new_meter_provider(resource: Resource, breaker: _Breaker) -> MeterProvider:
    reader = PeriodicExportingMetricReader(_MetricExporter(breaker))
    # `close` shuts it down; at the exit of the process it could wait for a collector for long.
    return MeterProvider([reader], resource, shutdown_on_exit=False)


def _new_tracer_provider(resource: Resource, breaker: _Breaker) -> TracerProvider:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_SpanExporter(breaker)))
    return provider
