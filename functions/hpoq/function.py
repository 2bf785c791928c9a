"""Put all parts together, and process an event with them.

From its cold start on, an instance keeps the settings, the HTTP connections, the store and the pace that it learns.
Everything else is built for one invocation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

import requests

from fcruntime.batch import BatchFailed, settle
from fcruntime.context import Deadline, Invocation
from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers import decode
from hpoq.clock import Budget, Clock, SystemClock
from hpoq.cloud import paiautoml, smq
from hpoq.cloud.caller import RetryPolicy, ServiceClient
from hpoq.cloud.connections import new_session
from hpoq.cloud.signing import Credentials, CredentialsProvider, chain, from_context, from_environment
from hpoq.cloud.transport import Transport
from hpoq.errors import NoCredentials
from hpoq.idempotency.record import Record
from hpoq.idempotency.store import Store, open_store
from hpoq.observability import Assigned, logs
from hpoq.observability.measures import measure_time
from hpoq.observability.redaction import known_secrets
from hpoq.observability.telemetry import Exporter, Telemetry, open_exporter
from hpoq.processing.batch import Batch
from hpoq.processing.creation import Creator, Marking
from hpoq.processing.follow import Follower
from hpoq.processing.intake import Intake, is_keyed_message, take_in
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Terms
from hpoq.processing.limits import Limits
from hpoq.processing.outcome import Announcer, BatchReport, Outcome, Result
from hpoq.processing.pace import Pace
from hpoq.processing.processor import Processor
from hpoq.processing.sendback import DeadLetters, Sealed, SendBack, WatchQueue
from hpoq.processing.watchorder import WatchSchedule
from hpoq.publishers import EventBridgePublisher, FilePublisher, Publisher, SmqTopicPublisher
from hpoq.settings import Settings
from hpoq.surroundings import Surroundings, store_url

_DAY = 86_400.0

_invocations: ContextVar[CredentialsProvider | None] = ContextVar("hpoq_credentials", default=None)

Client = TypeVar("Client", bound=ServiceClient)


class EventFailed(BatchFailed):
    """Messages of the event must be retried and were not sent back, so FC must deliver the event again.

    `report` contains the outcome of each message.
    """

    def __init__(self, failed: int, report: BatchReport) -> None:
        self.report = report
        super().__init__(failed, len(report.results))


class Function:
    """One instance of the function.

    Tests and local tools can replace `session`, `clock` and `store`, and wrap the publisher.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        session: requests.Session | None = None,
        clock: Clock | None = None,
        store: Store | None = None,
        wrap_publisher: Callable[[Publisher], Publisher] = lambda publisher: publisher,
    ) -> None:
        self.settings = Settings.from_environment(environ)
        self._environ = environ
        self._clock = clock or SystemClock()
        self._session = session or new_session(self.settings.concurrency)
        self._transport = Transport(self._session, self._clock)
        self._store = store or open_store(
            store_url(self.settings, environ), self._transport, self._current_credentials
        )
        self._wrap_publisher = wrap_publisher
        self._retry = RetryPolicy(attempts=self.settings.call_attempts)
        self._pace = Pace(self._clock)
        self._telemetry = Telemetry(self._clock, self._exporter())
        self._terms = _read_terms(self.settings)
        self._marking = Marking(
            in_tag=self.settings.marker != "description",
            in_description=self.settings.marker != "tag",
            page_size=self.settings.list_page_size,
        )
        self._schedule = WatchSchedule(
            self.settings.watch_min_seconds,
            self.settings.watch_max_seconds,
            self.settings.watch_max_days * _DAY,
        )
        self._take_in = partial(
            take_in, namespace=self.settings.namespace, watches=self.settings.watch_queue is not None
        )
        self._events = 0
        self._all_done = threading.Condition()

    def prepare(self, context: object) -> None:
        """Load the modules of an invocation by building its objects once, ahead of the first event.

        Raises SettingsError if the settings and the context together are not enough.
        """
        surroundings = Surroundings(Invocation.from_context(context), self._environ, self.settings)
        credentials = chain(from_context(context), from_environment(self._environ))
        deadline = Deadline.from_invocation(surroundings.invocation, self._clock.monotonic)
        messages = self._messages(surroundings, credentials)
        ledger = Ledger(self._store, self._clock, self._terms)
        self._batch(surroundings, credentials, messages, deadline, surroundings.request_id, ledger)

    def handle(self, event: bytes, context: object) -> JsonObject:
        """Process one event and return its report. Raises EventFailed if FC must deliver it again."""
        invocation = Invocation.from_context(context)
        deadline = Deadline.from_invocation(invocation, self._clock.monotonic)
        surroundings = Surroundings(invocation, self._environ, self.settings)
        credentials = chain(from_context(context), from_environment(self._environ))
        request_id = surroundings.request_id
        with (
            self._count_event(),
            Assigned(_invocations, credentials),
            logs.bind_context(request_id=request_id),
            known_secrets(_secrets(credentials)),
            self._telemetry.invocation(deadline.remaining) as measures,
        ):
            messages = self._messages(surroundings, credentials)
            with measure_time("decode", self._clock):
                items = decode(
                    event,
                    source=self.settings.trigger,
                    request_id=invocation.request_id,
                    accepts=is_keyed_message,
                )
            measures.source = next((item.kind for item in items), None)
            ledger = Ledger(self._store, self._clock, self._terms)
            done = self._batch(surroundings, credentials, messages, deadline, request_id, ledger).run(items)
            report = BatchReport(request_id, [result for _, result in done])
            measures.outcomes = report.summary
            sender = SendBack(
                messages,
                self.settings.queue,
                self.settings.dead_letter_queue,
                ledger,
                self._clock,
                Budget(self._clock, deadline.at),
                self._pace,
                self.settings.watch_queue,
            )
            self._settle(report, done, sender)
        return report.as_json()

    def close(self) -> None:
        """Wait for the events that are being processed, then close the store, the connections and the exporter.

        The exporter comes last, because a collector that does not answer may use up the time that PreStop has.
        """
        with self._all_done:
            self._all_done.wait_for(lambda: not self._events)
        self._store.close()
        self._session.close()
        self._telemetry.close()

    def _exporter(self) -> Exporter | None:
        if not self.settings.opentelemetry:
            return None
        return open_exporter(self._environ.get("FC_FUNCTION_NAME") or "hpoq")

    @contextmanager
    def _count_event(self) -> Iterator[None]:
        with self._all_done:
            self._events += 1
        try:
            yield
        finally:
            with self._all_done:
                self._events -= 1
                self._all_done.notify_all()

    def _current_credentials(self) -> Credentials:
        """Return the credentials of the current invocation, or the environment's outside of one.

        The store outlives invocations, and their credentials expire.
        """
        return (_invocations.get() or from_environment(self._environ))()

    def _messages(
        self, surroundings: Surroundings, credentials: CredentialsProvider
    ) -> Callable[[], smq.Smq]:
        """Return a function that makes the SMQ client, which some outputs and batch policies never need."""
        return lambda: self._client(smq.Smq, surroundings.smq_endpoint(), credentials)

    def _client(self, kind: type[Client], endpoint: str, credentials: CredentialsProvider) -> Client:
        return kind(
            self._transport,
            endpoint,
            credentials,
            connect_timeout=self.settings.connect_timeout_seconds,
            read_timeout=self.settings.read_timeout_seconds,
            retry=self._retry,
        )

    def _batch(
        self,
        surroundings: Surroundings,
        credentials: CredentialsProvider,
        messages: Callable[[], smq.Smq],
        deadline: Deadline,
        request_id: str,
        ledger: Ledger,
    ) -> Batch:
        settings, clock = self.settings, self._clock
        call_seconds = settings.connect_timeout_seconds + settings.read_timeout_seconds
        limits = Limits.from_deadline(
            deadline, reserve=settings.deadline_reserve_seconds, call_seconds=call_seconds
        )
        endpoint = surroundings.paiautoml_endpoint()
        client = self._client(paiautoml.PaiAutoMl, endpoint, credentials)
        creator = Creator(
            client,
            clock,
            ledger.terms,
            limits,
            self._marking,
            self._retry,
            paiautoml.identify_place(endpoint),
            _saver(ledger),
            self._pace,
        )
        publisher = self._wrap_publisher(self._open_publisher(surroundings, credentials, messages))
        announcer = Announcer(publisher, surroundings.source, request_id)
        budget = Budget(clock, limits.ends_at)
        dead_letters = DeadLetters(messages, settings.dead_letter_queue, budget)
        watch_queue = WatchQueue(messages, settings.watch_queue, settings.namespace, budget)
        follower = Follower(client, ledger, watch_queue, clock, self._schedule, creator.search_budget)
        processor = Processor(ledger, creator, announcer, dead_letters, follower, clock, budget)
        return Batch(
            processor.process,
            clock,
            limits,
            settings.concurrency,
            self._pace,
            take_in=self._take_in,
            look_ahead=processor.look_ahead,
            needs_create=processor.needs_create,
            hold_back=processor.hold_back,
        )

    def _open_publisher(
        self, surroundings: Surroundings, credentials: CredentialsProvider, messages: Callable[[], smq.Smq]
    ) -> Publisher:
        """Return the publisher that HPOQ_OUTPUT selects."""
        scheme, _, place = self.settings.output.partition("://")
        if scheme == "smq":
            return SmqTopicPublisher(messages(), place)
        if scheme == "eventbridge":
            from hpoq.cloud.eventbridge import EventBridge  # for this output only

            client = self._client(EventBridge, surroundings.eventbridge_endpoint(), credentials)
            return EventBridgePublisher(client, place)
        # file:///PATH or stdout://; the settings refuse everything else.
        return FilePublisher(place or None)

    def _settle(self, report: BatchReport, done: list[tuple[Intake, Result]], sender: SendBack) -> None:
        again: list[Sealed | None] = [
            sender.seal(intake, result) for intake, result in done if result.outcome is Outcome.RETRY
        ]
        try:
            settle(again, len(done), self.settings.batch_policy, sender.send)
        except BatchFailed as exc:
            logs.get_logger().warning("event.failed", failed=exc.failed, total=exc.total)
            raise EventFailed(exc.failed, report) from None


def _read_terms(settings: Settings) -> Terms:
    return Terms(
        lease=settings.lease_seconds,
        skew=settings.clock_skew_seconds,
        consistency=settings.consistency_seconds,
        retention=settings.retention_days * _DAY,
        max_attempts=settings.max_attempts,
        read=settings.read_timeout_seconds,
        max_age=settings.max_age_hours * 3600.0,
        delay=settings.requeue_delay_seconds,
        window=settings.date_window_seconds,
    )


def _saver(ledger: Ledger) -> Callable[[Record], Record]:
    """Return the function that writes the record of a claim over itself."""
    return lambda record: ledger.save(record, record.version)


def _secrets(credentials: CredentialsProvider) -> tuple[str, ...]:
    try:
        return credentials().secrets()
    except NoCredentials:
        return ()
