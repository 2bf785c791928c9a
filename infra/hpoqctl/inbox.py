"""The events of messages that were sent: a temporary queue, subscribed to the output topic, and whom they answer."""

from __future__ import annotations

import contextlib
import json
import signal
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget, Clock
from hpoq.cloud.caller import is_harmless_to_repeat
from hpoq.cloud.smq import Smq, queue_endpoint
from hpoq.contract.events import outcome_of
from hpoq.errors import CallError, SettingsError
from hpoq.producer import SentRequest
from hpoqctl.services import Target

_POLL_SECONDS = 5
# A call leaves room for its time-outs in its budget; in a tighter one it would not wait at all, and polls would race.
_ROOM_SECONDS = 40
# If the process is killed, the queue stays, but its messages do not pile up for longer than this.
_RETENTION_SECONDS = 3600


@dataclass
class Inbox:
    """A queue that receives what the output topic publishes while it is open."""

    smq: Smq
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
def open_inbox(smq: Smq, topic: str, account_id: str, region: str) -> Iterator[Inbox]:
    """Create a queue, subscribe it to every event of `topic`, and remove both at the end. Raises CallError."""
    name = f"hpoq-wait-{uuid.uuid4().hex[:12]}"
    smq.create_queue(name, retention_period=_RETENTION_SECONDS)
    try:
        smq.subscribe(topic, name, queue_endpoint(account_id, region, name), content_format="SIMPLIFIED")
        yield Inbox(smq, name)
    finally:
        with contextlib.suppress(CallError):
            smq.unsubscribe(topic, name)
        with contextlib.suppress(CallError):
            smq.delete_queue(name)


def open_inbox_at(target: Target) -> contextlib.AbstractContextManager[Inbox]:
    """Open an inbox for the output topic. Raises SettingsError if the topic is not known."""
    if target.topic is None:
        raise SettingsError(["--wait needs an output topic. Set HPOQ_OUTPUT to smq://TOPIC."])
    if not target.account_id or not target.region:
        raise SettingsError(["--wait needs the account and the region. Set HPOQ_ACCOUNT_ID and HPOQ_REGION."])
    # SIGTERM ends the command as Ctrl-C does, so that the queue and the subscription are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return open_inbox(target.smq, target.topic, target.account_id, target.region)


class Answers:
    """The messages that were sent, and the event that answers each of them, by its index in `sent`.

    `results` are the finished events of the experiments that were created, which are awaited if `to_end`.
    """

    def __init__(self, sent: Sequence[SentRequest], *, to_end: bool = False) -> None:
        self.sent = sent
        self.to_end = to_end
        self.events: dict[int, JsonObject] = {}
        self.results: dict[int, JsonObject] = {}
        self._by_message: defaultdict[str, list[int]] = defaultdict(list)
        self._by_key: defaultdict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(sent):
            self._by_message[request.message_id].append(index)
            self._by_key[request.key].append(index)

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
        """Whether everything has come that is awaited."""
        return not self.missing and not (self.to_end and self.unfinished)

    def add(self, event: JsonObject) -> None:
        """Record `event` for each message that it answers.

        An event contains the id of the message that caused it. It also answers other messages of the same key,
        except for the event of a conflict, of a dry run or of a stop, which answers its own message only.
        """
        data = event.get("data")
        if not isinstance(data, dict):
            return
        error = data.get("error")
        is_conflict = isinstance(error, dict) and error.get("code") == "IdempotencyConflict"
        outcome = outcome_of(event)
        if outcome == "finished":
            self.results |= dict.fromkeys(self._by_key.get(str(data.get("idempotencyKey")), ()), event)
            return
        is_own = is_conflict or outcome in ("accepted", "stopping")
        for index in self._by_message.get(str(data.get("messageId")), ()):
            self.events[index] = event
        for index in () if is_own else self._by_key.get(str(data.get("idempotencyKey")), ()):
            self.events.setdefault(index, event)


def collect_answers(
    inbox: Inbox, answers: Answers, clock: Clock, seconds: float, on_progress: Callable[[int], None]
) -> None:
    """Receive events until everything has come that is awaited, or `seconds` are over.

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
            if not answers.to_end or not is_harmless_to_repeat(exc):
                raise
            clock.sleep(_POLL_SECONDS)
            continue
        for event in events:
            answers.add(event)
        on_progress(len(answers.events))


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
