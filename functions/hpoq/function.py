"""The one place where all parts are put together, and what an instance of the function does with an event.

What is built at cold start and lives on are the settings, the HTTP connections and the store; all else is made
for one invocation and dies with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

import requests
import structlog

from fcruntime.batch import BatchFailed, settle
from fcruntime.context import Deadline, Invocation
from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers import decode
from hpoq.clock import Clock, SystemClock
from hpoq.cloud import paiautoml, smq
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import Credentials, CredentialsProvider, chain, from_context, from_environment
from hpoq.cloud.retry import RetryPolicy
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, NoCredentials, SettingsError
from hpoq.idempotency.store import Store, open_store
from hpoq.observability import logs
from hpoq.observability.measures import count, timed
from hpoq.observability.redaction import known_secrets
from hpoq.observability.telemetry import Exporter, Telemetry, open_exporter
from hpoq.processing.announcement import Announcer
from hpoq.processing.batch import Batch
from hpoq.processing.creation import Creator, Marking
from hpoq.processing.envelope import seal
from hpoq.processing.intake import Intake
from hpoq.processing.ledger import Ledger
from hpoq.processing.lifecycle import Terms
from hpoq.processing.limits import Limits
from hpoq.processing.message import Processor
from hpoq.processing.outcome import BatchReport, Outcome, Result
from hpoq.publishers import Publisher
from hpoq.settings import Settings
from hpoq.surroundings import Surroundings, store_url

_DAY = 86_400.0

_invocations: ContextVar[CredentialsProvider | None] = ContextVar("hpoq_credentials", default=None)

_Sealed: TypeAlias = "tuple[Intake, bytes]"

Client = TypeVar("Client", paiautoml.PaiAutoMl, smq.Smq)


class EventFailed(BatchFailed):
    """Messages of the event must be retried and were not sent back; FC delivers the event again.

    `report` tells the end of each message all the same.
    """

    def __init__(self, failed: int, report: BatchReport) -> None:
        self.report = report
        super().__init__(failed, len(report.results))


class Function:
    """One instance of the function: what a cold start builds, and what it does with an event.

    `session`, `clock`, `store` and `wrap_publisher` are the seams for tests and local tools.
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
            store_url(self.settings, environ), self._transport, self._credentials_now
        )
        self._wrap_publisher = wrap_publisher
        self._retry = RetryPolicy(attempts=self.settings.call_attempts)
        self._telemetry = Telemetry(self._clock, self._exporter())
        self._events = 0
        self._none_left = threading.Condition()

    def prepare(self, context: object) -> None:
        """Build once, for nothing, what every invocation builds: its modules are then loaded.

        Raises SettingsError where the settings and the context together are not enough.
        """
        around = Surroundings(Invocation.of(context), self._environ, self.settings)
        credentials = chain(from_context(context), from_environment(self._environ))
        deadline = Deadline.of(around.invocation, self._clock.monotonic)
        self._batch(around, credentials, self._messages(around, credentials), deadline, around.request_id)

    def handle(self, event: bytes, context: object) -> JsonObject:
        """Process one event and return its report. Raises EventFailed where FC must deliver it again."""
        with self._counted():
            return self._handle(event, context)

    def _exporter(self) -> Exporter | None:
        if not self.settings.opentelemetry:
            return None
        return open_exporter(self._environ.get("FC_FUNCTION_NAME") or "hpoq")

    def _handle(self, event: bytes, context: object) -> JsonObject:
        invocation = Invocation.of(context)
        deadline = Deadline.of(invocation, self._clock.monotonic)
        around = Surroundings(invocation, self._environ, self.settings)
        credentials = chain(from_context(context), from_environment(self._environ))
        request_id = around.request_id
        with (
            _signing_with(credentials),
            structlog.contextvars.bound_contextvars(request_id=request_id),
            known_secrets(_secrets(credentials)),
            self._telemetry.invocation(deadline.remaining) as measures,
        ):
            messages = self._messages(around, credentials)
            with timed("decode", self._clock):
                items = decode(event, source=self.settings.trigger, request_id=invocation.request_id)
            done = self._batch(around, credentials, messages, deadline, request_id).run(items)
            report = BatchReport(request_id, [result for _, result in done])
            measures.outcomes = report.summary
            self._settle(report, done, messages, deadline)
        return report.as_json()

    def close(self) -> None:
        """Give up connections and the store, after the events under way."""
        with self._none_left:
            self._none_left.wait_for(lambda: not self._events)
        self._telemetry.close()
        self._session.close()
        self._store.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._none_left:
            self._events += 1
        try:
            yield
        finally:
            with self._none_left:
                self._events -= 1
                self._none_left.notify_all()

    def _credentials_now(self) -> Credentials:
        """What the invocation under way signs with: the store outlives it, its credentials need not."""
        return (_invocations.get() or from_environment(self._environ))()

    def _terms(self) -> Terms:
        settings = self.settings
        return Terms(
            lease=settings.lease_seconds,
            skew=settings.clock_skew_seconds,
            consistency=settings.consistency_seconds,
            retention=settings.retention_days * _DAY,
            max_attempts=settings.max_attempts,
        )

    def _messages(self, around: Surroundings, credentials: CredentialsProvider) -> Callable[[], smq.Smq]:
        """The SMQ client, made when it is first needed: with another output it may never be."""
        return lambda: self._client(smq.Smq, around.smq_endpoint(), credentials)

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
        around: Surroundings,
        credentials: CredentialsProvider,
        messages: Callable[[], smq.Smq],
        deadline: Deadline,
        request_id: str,
    ) -> Batch:
        settings, clock, terms = self.settings, self._clock, self._terms()
        call_seconds = settings.connect_timeout_seconds + settings.read_timeout_seconds
        limits = Limits.of(deadline, reserve=settings.deadline_reserve_seconds, call_seconds=call_seconds)
        client = self._client(paiautoml.PaiAutoMl, around.paiautoml_endpoint(), credentials)
        marking = Marking(settings.marker == "tag", settings.list_page_size)
        creator = Creator(client, clock, terms, limits, marking)
        publisher = self._wrap_publisher(_open_publisher(settings.output, messages))
        announcer = Announcer(publisher, around.source, request_id)
        ledger = Ledger(self._store, clock, terms)
        processor = Processor(ledger, creator, announcer, clock, limits.ends_at)
        return Batch(processor.process, clock, limits, settings.concurrency, look_ahead=processor.look_ahead)

    def _settle(
        self,
        report: BatchReport,
        done: list[tuple[Intake, Result]],
        messages: Callable[[], smq.Smq],
        deadline: Deadline,
    ) -> None:
        again = [_sealed(intake) for intake, result in done if result.outcome is Outcome.RETRY]
        try:
            settle(
                again,
                len(done),
                self.settings.batch_policy,
                lambda sealed: self._send_back(sealed, messages, deadline),
            )
        except BatchFailed as exc:
            logs.get_logger().warning("event.failed", failed=exc.failed, total=exc.total)
            raise EventFailed(exc.failed, report) from None

    def _send_back(self, sealed: _Sealed, messages: Callable[[], smq.Smq], deadline: Deadline) -> bool:
        """Whether the message is in its queue again, in its envelope."""
        intake, body = sealed
        try:
            messages().send_message(
                self.settings.queue,
                body,
                delay_seconds=self.settings.requeue_delay_seconds,
                give_up_at=deadline.at,
            )
        except CallError as exc:
            logs.get_logger().error("requeue.failed", key=intake.key, error=str(exc))
            return False
        count("requeued")
        logs.get_logger().info("message.requeued", key=intake.key, message_id=intake.message_id)
        return True


def _sealed(intake: Intake) -> _Sealed | None:
    """The message ready to be sent back; None if it holds no text, or too much of it."""
    try:
        body = seal(intake.envelope) if intake.envelope else None
    except UnicodeDecodeError:
        return None
    return (intake, body) if body is not None and smq.fits(body) else None


@contextmanager
def _signing_with(credentials: CredentialsProvider) -> Iterator[None]:
    token = _invocations.set(credentials)
    try:
        yield
    finally:
        _invocations.reset(token)


def _secrets(credentials: CredentialsProvider) -> tuple[str, ...]:
    try:
        return credentials().secrets()
    except NoCredentials:
        return ()


def _open_publisher(output: str, messages: Callable[[], smq.Smq]) -> Publisher:
    """The publisher that `output` names; implementations are imported when they are named."""
    scheme, _, place = output.partition("://")
    if scheme == "smq" and place:
        from hpoq.publishers.smq import SmqTopicPublisher

        return SmqTopicPublisher(messages(), place)
    if scheme == "stdout" or (scheme == "file" and place.startswith("/")):
        from hpoq.publishers.file import FilePublisher

        return FilePublisher(place or None)
    raise SettingsError([f"HPOQ_OUTPUT: {output!r}: use smq://TOPIC, file:///PATH or stdout://"])
