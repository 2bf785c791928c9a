"""The composition root: builds all parts, and processes an event with them.

From its cold start on, an instance keeps the settings, the HTTP connections, the store and the pace that it learns.
Everything else is built for one invocation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TypeVar

import requests

from fcruntime.batch import BatchFailed, settle
from fcruntime.context import Deadline, Invocation
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget, Clock, Limits, SystemClock
from hpoq.cloud import paiautoml, smq
from hpoq.cloud.caller import RetryPolicy, ServiceClient
from hpoq.cloud.connections import new_session
from hpoq.cloud.signing import Credentials, CredentialsProvider, chain, from_context, from_environment
from hpoq.cloud.transport import Transport
from hpoq.errors import NoCredentials
from hpoq.idempotency.store import Store, open_store
from hpoq.observability import Assigned, logs
from hpoq.observability.measures import measure_time
from hpoq.observability.redaction import known_secrets
from hpoq.observability.telemetry import Telemetry, open_exporter
from hpoq.placement import Placement, store_url
from hpoq.processing.batch import Batch
from hpoq.processing.creation import Creator, Marking
from hpoq.processing.follow import Follower, WatchQueue
from hpoq.processing.intake import Intake, Reader, decode_event
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Terms
from hpoq.processing.outcome import Announcer, BatchReport, Result, Retry
from hpoq.processing.pace import Pace
from hpoq.processing.processor import Processor
from hpoq.processing.sendback import DeadLetters, Sealed, SendBack
from hpoq.processing.watchorder import WatchSchedule
from hpoq.publishers import EventBridgePublisher, FilePublisher, Publisher, SmqTopicPublisher
from hpoq.settings import Settings

_DAY = 86_400.0
# An answer that a proxy delivers twice is one of the last few.
_MOST_IDS = 1_000

# The credentials of the invocation that the calling thread works for.
_credentials: ContextVar[CredentialsProvider | None] = ContextVar("hpoq_credentials", default=None)

Client = TypeVar("Client", bound=ServiceClient)


class EventFailed(BatchFailed):
    """Messages of the event must be retried and were not sent back, so FC must deliver the event again.

    `report` contains the outcome of each message.
    """

    def __init__(self, failed: int, report: BatchReport) -> None:
        self.report = report
        super().__init__(failed, len(report.results))


@dataclass(frozen=True)
class _Parts:
    """What the objects of one invocation share.

    `messages` makes the SMQ client, which some outputs and batch policies never need.
    """

    placement: Placement
    credentials: CredentialsProvider
    deadline: Deadline
    messages: Callable[[], smq.Smq]
    ledger: Ledger


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
            store_url(self.settings, environ), self._transport, self._read_credentials
        )
        self._wrap_publisher = wrap_publisher
        self._retry = RetryPolicy(attempts=self.settings.call_attempts)
        self._pace = Pace(self._clock)
        self._keys_by_id: dict[str, str] = {}
        exporter = None
        if self.settings.opentelemetry:
            exporter = open_exporter(environ.get("FC_FUNCTION_NAME") or "hpoq")
        self._telemetry = Telemetry(self._clock, exporter)
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
        self._read_message = Reader(self.settings.namespace, self.settings.watch_queue is not None).read
        self._events = 0
        self._all_done = threading.Condition()

    def prepare(self, context: object) -> None:
        """Load the modules of an invocation by building its objects once, ahead of the first event.

        Raises SettingsError if the settings and the context together are not enough.
        """
        self._build_batch(self._begin(context))

    def handle(self, event: bytes, context: object) -> JsonObject:
        """Process one event and return its report. Raises EventFailed if FC must deliver it again."""
        parts = self._begin(context)
        request_id = parts.placement.request_id
        with self._all_done:
            self._events += 1
        try:
            with (
                Assigned(_credentials, parts.credentials),
                logs.bind_context(request_id=request_id),
                known_secrets(_read_secrets(parts.credentials)),
                self._telemetry.invocation(parts.deadline.remaining) as measures,
            ):
                with measure_time("decode", self._clock):
                    call_id = parts.placement.invocation.request_id
                    items = decode_event(event, self.settings.trigger, call_id)
                measures.source = next((item.kind for item in items), None)
                done = self._build_batch(parts).run(items)
                report = BatchReport(request_id, [result for _, result in done])
                measures.outcomes = report.summary
                self._settle(report, done, parts)
        finally:
            with self._all_done:
                self._events -= 1
                self._all_done.notify_all()
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

    def _read_credentials(self) -> Credentials:
        """Return the credentials of the current invocation, or the environment's outside of one.

        The store outlives invocations, and their credentials expire.
        """
        return (_credentials.get() or from_environment(self._environ))()

    def _begin(self, context: object) -> _Parts:
        invocation = Invocation.from_context(context)
        deadline = Deadline.from_invocation(invocation, self._clock.monotonic)
        placement = Placement(invocation, self._environ, self.settings)
        credentials = chain(from_context(context), from_environment(self._environ))
        return _Parts(
            placement,
            credentials,
            deadline,
            lambda: self._open_client(smq.Smq, placement.smq_endpoint(), credentials),
            Ledger(self._store, self._clock, self._terms, self._transport.clock_error),
        )

    def _open_client(self, kind: type[Client], endpoint: str, credentials: CredentialsProvider) -> Client:
        return kind(
            self._transport,
            endpoint,
            credentials,
            connect_timeout=self.settings.connect_timeout_seconds,
            read_timeout=self.settings.read_timeout_seconds,
            retry=self._retry,
        )

    def _build_batch(self, parts: _Parts) -> Batch:
        settings, clock, placement, ledger = self.settings, self._clock, parts.placement, parts.ledger
        call_seconds = settings.connect_timeout_seconds + settings.read_timeout_seconds
        limits = Limits.from_deadline(
            parts.deadline, reserve=settings.deadline_reserve_seconds, call_seconds=call_seconds
        )
        endpoint = placement.paiautoml_endpoint()
        if len(self._keys_by_id) > _MOST_IDS:
            self._keys_by_id.clear()
        client = self._open_client(paiautoml.PaiAutoMl, endpoint, parts.credentials)
        creator = Creator(
            client,
            clock,
            ledger.terms,
            limits,
            marking=self._marking,
            retry=self._retry,
            place=paiautoml.identify_place(endpoint, placement.own_account_id),
            save=lambda record: ledger.save(record, record.version),
            pace=self._pace,
            keys_by_id=self._keys_by_id,
        )
        publisher = self._wrap_publisher(self._open_publisher(parts))
        budget = Budget(clock, limits.ends_at)
        announcer = Announcer(publisher, placement.source, placement.request_id, clock, budget)
        dead_letters = DeadLetters(parts.messages, settings.dead_letter_queue, budget)
        watch_queue = WatchQueue(parts.messages, settings.watch_queue, settings.namespace, budget)
        follower = Follower(client, ledger, watch_queue, clock, self._schedule, creator.place)
        processor = Processor(ledger, creator, announcer, dead_letters, follower, clock)
        return Batch(processor, clock, limits, settings.concurrency, self._pace, self._read_message)

    def _open_publisher(self, parts: _Parts) -> Publisher:
        scheme, _, place = self.settings.output.partition("://")
        if scheme == "smq":
            return SmqTopicPublisher(parts.messages(), place)
        if scheme == "eventbridge":
            from hpoq.cloud.eventbridge import EventBridge  # for this output only

            endpoint = parts.placement.eventbridge_endpoint()
            client = self._open_client(EventBridge, endpoint, parts.credentials)
            return EventBridgePublisher(client, place)
        # file:///PATH or stdout://; the settings refuse everything else.
        return FilePublisher(place or None)

    def _settle(self, report: BatchReport, done: list[tuple[Intake, Result]], parts: _Parts) -> None:
        sender = SendBack(
            parts.messages,
            self.settings.queue,
            self.settings.dead_letter_queue,
            parts.ledger,
            self._clock,
            Budget(self._clock, parts.deadline.at),
            self._pace,
            self.settings.watch_queue,
        )
        again: list[Sealed | None] = [
            sender.seal(intake, result) for intake, result in done if isinstance(result, Retry)
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


def _read_secrets(credentials: CredentialsProvider) -> tuple[str, ...]:
    try:
        return credentials().secrets()
    except NoCredentials:
        return ()
