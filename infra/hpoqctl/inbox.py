"""Receive the events of sent messages from a temporary queue, and find the message that each event answers."""

from __future__ import annotations

import contextlib
import json
import signal
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget, Clock, SystemClock
from hpoq.cloud.caller import TRANSIENT
from hpoq.contract.events import outcome_of
from hpoq.contract.finding import get_member
from hpoq.contract.identity import derive_conflict_key, derive_event_id
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import compute_fingerprint
from hpoq.contract.stop import StopRequest
from hpoq.errors import CallError, NotFound, SettingsError
from hpoq.producer import SentRequest
from hpoqctl.output import notes
from hpoqctl.queueclient import QueueClient, queue_endpoint
from hpoqctl.services import Target

_POLL_SECONDS = 5
# A call leaves room for its time-outs in its budget; in a tighter one it would not wait at all, and polls would race.
_ROOM_SECONDS = 40
# If the process is killed, the queue stays, but its messages do not pile up for longer than this.
_RETENTION_SECONDS = 3600


@dataclass
class Inbox:
    """A queue that receives what the output topic publishes while it is open."""

    smq: QueueClient
    queue: str

    def receive(self, wait_seconds: int, budget: Budget) -> list[JsonObject]:
        """Return the next events, each once, or an empty list if none came within `wait_seconds`."""
        events: list[JsonObject] = []
        for message in self.smq.receive_messages(self.queue, wait_seconds=wait_seconds, budget=budget):
            with contextlib.suppress(ValueError):
                event = json.loads(message.body)
                events += [event] if isinstance(event, dict) else []
            if message.receipt_handle is not None:
                with contextlib.suppress(CallError):
                    self.smq.delete_message(self.queue, message.receipt_handle)
        return events


@contextlib.contextmanager
def open_inbox(smq: QueueClient, topic: str, account_id: str, region: str) -> Iterator[Inbox]:
    """Create a queue, subscribe it to every event of `topic`, and remove both at the end. Raises CallError."""
    name = f"hpoq-wait-{uuid.uuid4().hex[:12]}"
    smq.create_queue(name, retention_period=_RETENTION_SECONDS)
    try:
        smq.subscribe(topic, name, queue_endpoint(account_id, region, name))
        yield Inbox(smq, name)
    finally:
        _remove(f"subscription {name} of the topic {topic}", lambda: smq.unsubscribe(topic, name))
        _remove(f"queue {name}", lambda: smq.delete_queue(name))


def _remove(what: str, call: Callable[[], object]) -> None:
    """Remove what the inbox needed, or say that it is still there: it would receive every later event."""
    try:
        call()
    except NotFound:
        return
    except CallError as exc:
        notes().print(f"The {what} could not be removed: {exc}. Remove it in the console.", markup=False)


def open_inbox_at(target: Target) -> contextlib.AbstractContextManager[Inbox]:
    """Open an inbox for the output topic. Raises SettingsError if the topic is not known."""
    if target.topic is None:
        raise SettingsError(["--wait needs an output topic. Set HPOQ_OUTPUT to smq://TOPIC."])
    if not target.account_id or not target.region:
        raise SettingsError(["--wait needs the account and the region. Set HPOQ_ACCOUNT_ID and HPOQ_REGION."])
    # SIGTERM ends the command as Ctrl-C does, so that the queue and the subscription are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return open_inbox(target.smq, target.topic, target.account_id, target.region)


@dataclass
class _Group:
    """The messages that send the same request under the same key, by their index."""

    request: ExperimentRequest | StopRequest | None
    indexes: list[int] = field(default_factory=list)


class Answers:
    """The messages that were sent, and the event that answers each of them, by its index in `sent`.

    `requests` are the requests in the messages, None for an invalid one. `results` are the finished events of the
    experiments that were created, which are awaited if `to_end`.
    """

    def __init__(
        self,
        sent: Sequence[SentRequest],
        requests: Sequence[ExperimentRequest | StopRequest | None] = (),
        *,
        to_end: bool = False,
    ) -> None:
        self.sent = sent
        self.to_end = to_end
        self.events: dict[int, JsonObject] = {}
        self.results: dict[int, JsonObject] = {}
        self._finished: dict[str, JsonObject] = {}
        self._unclear: list[JsonObject] = []
        self._by_message: dict[str, tuple[int, _Group]] = {}
        self._by_conflict: dict[str, _Group] = {}
        self._by_key: defaultdict[str, dict[str | None, _Group]] = defaultdict(dict)
        for index, (message, request) in enumerate(zip_longest(sent, requests)):
            fingerprint = compute_fingerprint(request.wire()) if request is not None else None
            is_dry_run = isinstance(request, ExperimentRequest) and request.dry_run
            group = _Group(request)
            if not is_dry_run:  # only its own event answers a dry run
                group = self._by_key[message.key].setdefault(fingerprint, group)
            group.indexes.append(index)
            self._by_message[message.message_id] = index, group
            if fingerprint is not None and not is_dry_run:
                refusal = derive_conflict_key(message.key, fingerprint)
                self._by_conflict[derive_event_id(refusal, "rejected")] = group

    @property
    def missing(self) -> list[SentRequest]:
        """The messages whose event has not come yet."""
        return [request for index, request in enumerate(self.sent) if index not in self.events]

    @property
    def unfinished(self) -> list[int]:
        """The messages whose experiment was created and whose result has not come yet, by their index."""
        created = [index for index, event in self.events.items() if outcome_of(event) == "created"]
        return [index for index in created if index not in self.results]

    @property
    def is_complete(self) -> bool:
        """Whether everything that is awaited has come."""
        return not self.missing and not (self.to_end and self.unfinished)

    def add(self, event: JsonObject) -> None:
        """Record `event` for each message that it answers.

        An event contains the id of the message that caused it. It also answers the other messages that send the
        same request under the same key. The event of a dry run or of a stop answers its own message only.
        If the request was sent before, its event is published again and contains the id of that earlier message.
        """
        data = event.get("data")
        if not isinstance(data, dict):
            return
        outcome, key = outcome_of(event), str(data.get("idempotencyKey"))
        refused = self._by_conflict.get(str(event.get("id")))
        if outcome == "finished":
            self._add_result(event, key)
        elif refused is not None:
            self._add_conflict(event, refused)
        else:
            own, group = self._by_message.get(str(data.get("messageId")), (None, None))
            if own is not None:
                self._record(own, event)
            code = get_member(data, "error", "code")
            if outcome not in ("accepted", "stopping") and code != "IdempotencyConflict":
                self._share(event, group or self._find_answered(event, key))

    def _add_result(self, event: JsonObject, key: str) -> None:
        """Record a finished event for the messages whose experiment it names; another request may have its key."""
        self._finished[str(get_member(event, "data", "experimentId"))] = event
        for group in self._by_key.get(key, {}).values():
            for index in group.indexes:
                if index in self.events:
                    self._record(index, self.events[index])

    def _add_conflict(self, event: JsonObject, refused: _Group) -> None:
        """Record the refusal of a request, whose id shows which request it is about, whichever message caused it."""
        for index in refused.indexes:
            self._record(index, event)
        unclear, self._unclear = self._unclear, []
        for earlier in unclear:
            self.add(earlier)

    def _share(self, event: JsonObject, group: _Group | None) -> None:
        for index in group.indexes if group else ():
            if index not in self.events:
                self._record(index, event)

    def _find_answered(self, event: JsonObject, key: str) -> _Group | None:
        """Return the messages that are answered by an event about an earlier message of the same key, or None."""
        found = [group for group in self._by_key.get(key, {}).values() if self._can_answer(event, group)]
        if len(found) > 1:  # a conflict will show which of these different requests it answers
            self._unclear.append(event)
        return found[0] if len(found) == 1 else None

    def _can_answer(self, event: JsonObject, group: _Group) -> bool:
        """Return whether `event` may be about the request of these messages, as far as its name shows."""
        name = get_member(event, "data", "name")
        is_other = isinstance(group.request, ExperimentRequest) and group.request.experiment.name != name
        return not (is_other and name is not None) and group.indexes[0] not in self.events

    def _record(self, index: int, event: JsonObject) -> None:
        """Record the event of a message, and the result of the experiment in it if that has come."""
        self.events[index] = event
        self.results.pop(index, None)
        result = self._finished.get(str(get_member(event, "data", "experimentId")))
        if result is not None and outcome_of(event) == "created":
            self.results[index] = result


def collect_answers(
    inbox: Inbox, answers: Answers, clock: Clock, seconds: float, on_progress: Callable[[int], None]
) -> None:
    """Receive events until everything that is awaited has come, or `seconds` are over.

    After each call, `on_progress` gets the number of messages that are answered.
    """
    polls = Budget.lasting(seconds, clock)
    # A last poll that has begun may end.
    calls = Budget.lasting(seconds + _POLL_SECONDS + _ROOM_SECONDS, clock)
    while not answers.is_complete and polls.seconds_left() > 0:
        wait = max(1, int(min(_POLL_SECONDS, polls.seconds_left())))
        try:
            events = inbox.receive(wait, calls)
        except CallError as exc:
            # A result may take days: a service that cannot be reached for a while must not end the wait for it.
            if not answers.to_end or not isinstance(exc, TRANSIENT):
                raise
            clock.sleep(_POLL_SECONDS)
            continue
        for event in events:
            answers.add(event)
        on_progress(len(answers.events))


@dataclass(kw_only=True)
class Sending:
    """The messages that a command sent, and with --wait the events that answer them. `error` ended the command."""

    sent: list[SentRequest] = field(default_factory=list)
    answers: Answers | None = None
    error: str | None = None
    is_interrupted: bool = False

    def wait(
        self, inbox: Inbox, answers: Answers, seconds: float, show: Callable[[int], None] = lambda _: None
    ) -> None:
        """Wait for `answers`, until Ctrl-C at the longest: what was sent is still printed. See `collect_answers`."""
        self.answers = answers
        try:
            collect_answers(inbox, answers, SystemClock(), seconds, show)
        except KeyboardInterrupt:
            self.is_interrupted = True

    def as_json(self, sent: Iterable[JsonObject]) -> JsonObject:
        """Return all of it for machines; `sent` describes the messages."""
        document: JsonObject = {"sent": [*sent]}
        if self.answers is not None:
            every = [*self.answers.events.values(), *self.answers.results.values()]
            document["events"] = [*{str(event.get("id")): event for event in every}.values()]
            document["missing"] = [request.message_id for request in self.answers.missing]
        return {**document, "error": self.error} if self.error else document


def convert_event(request: SentRequest, event: JsonObject) -> JsonObject:
    """Return the event in the form of a row in the report of an invocation."""
    data = event.get("data")
    members = data if isinstance(data, dict) else {}
    return {
        "messageId": request.message_id,
        "key": request.key,
        "outcome": outcome_of(event),
        "experimentId": members.get("experimentId"),
        "error": members.get("error"),
    }
