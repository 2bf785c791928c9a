"""The history of each message, reconstructed from deliveries and from the log of calls.

The cloud does not know what a function means by its calls. A call belongs to a message if it names the message, if
it names a key that another call names together with the message (a row, a tag, an experiment), or if it was made
while only that message was being delivered.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from alilocal.cloud import Cloud
from alilocal.core.delivery import Delivery
from alilocal.core.requestlog import LoggedRequest
from alilocal.core.service import Service
from alilocal.core.world import Sent

_VERSION = re.compile(r"v\d+")
LOST, EXPIRED = "lost", "expired"
"""The states of a message that was given up and is in no dead-letter queue, and of one that its queue deleted at the
end of its retention period before anybody had deleted it."""


@dataclass(frozen=True)
class Step:
    """One event in a message's history; `failed` if it did not go well. `time` is on the cloud's clock."""

    time: float
    word: str
    detail: str = ""
    failed: bool = False


@dataclass(frozen=True)
class History:
    """A message with its steps, oldest first. `state` is its present state, `outcome` the type of the last event
    that was published for it, and `made` what was made for it, such as experiments."""

    message_id: str
    queue: str
    time: float
    state: str
    outcome: str
    made: list[str]
    steps: list[Step] = field(repr=False)
    body: str = field(repr=False)

    @property
    def outcome_word(self) -> str:
        """The last word of the outcome without a version: `created` of `com.example.order.created.v1`."""
        words = [word for word in self.outcome.split(".") if not _VERSION.fullmatch(word)]
        return words[-1] if words else self.outcome

    @property
    def end(self) -> str:
        """How the message ended: the last word of its outcome, or its state."""
        return self.outcome_word or self.state


class Histories:
    """The histories of the newest messages of a cloud at the moment at which this object is made.

    They are those of one `queue`, or of all queues if it is None.
    """

    def __init__(self, cloud: Cloud, most: int | None = 100, queue: str | None = None) -> None:
        with cloud.changed:
            self._services: dict[str, Service] = {service.name: service for service in cloud.services}
            # Calls of services that are not here belong to no message.
            known = (one for one in cloud.requests if one.service in self._services)
            self._requests = sorted(known, key=lambda one: one.time)
            self._deliveries = [one for stream in cloud.streams for one in stream.deliveries]
            self._running = {message for stream in cloud.streams for message in stream.running_ids}
            # The queues first: they then note in the journal which messages have expired.
            self._states = {
                message_id: state for one in cloud.queues for message_id, state in one.states().items()
            }
            sent = list(cloud.journal) if queue is None else cloud.journal.of(queue)
            self._sent = sent if most is None else sent[-most:]
        self._times = [one.time for one in self._requests]
        self._keys = {
            key
            for one in self._requests
            if one.code is None and self._services[one.service].trace(one.operation).creates
            for key in one.keys
        }
        self._by_text: dict[str, list[LoggedRequest]] = {}
        for one in self._requests:
            for text in one.keys | one.mentions:
                self._by_text.setdefault(text, []).append(one)
        self._by_message: dict[str, list[Delivery]] = {}
        for delivery in self._deliveries:
            for message_id in delivery.message_ids:
                self._by_message.setdefault(message_id, []).append(delivery)

    def list(self, queue: str | None = None) -> Sequence[History]:
        """Return the histories of all these messages, or of those in one queue, newest first."""
        return [self._history(sent) for sent in reversed(self._sent) if queue in (None, sent.queue)]

    def about(self, request_ids: Collection[str]) -> Sequence[History]:
        """Return the histories of the messages to which calls with these request ids belong."""
        times = [one.time for one in self._requests if one.request_id in request_ids]
        meant = {
            message_id
            for one in self._deliveries
            if bisect_left(times, one.time) < bisect_right(times, one.time + one.duration_ms / 1000)
            for message_id in one.message_ids
        }
        found = [sent for sent in self._sent if sent.message_id in meant]
        return [
            self._history(sent)
            for sent in found
            if any(one.request_id in request_ids for one in self._calls(sent.message_id))
        ]

    def find(self, message_id: str) -> History | None:
        """Return the history of one message, or None if it is not among the newest."""
        sent = next((one for one in self._sent if one.message_id == message_id), None)
        return None if sent is None else self._history(sent)

    def count_unanswered(self, request_ids: Collection[str]) -> int:
        """Return how many of these calls got no answer."""
        return sum(one.status is None and one.request_id in request_ids for one in self._requests)

    def deliveries(self, message_id: str) -> Sequence[Delivery]:
        """Return the deliveries of a message, oldest first."""
        return self._by_message.get(message_id, [])

    def names(self, message_id: str) -> frozenset[str]:
        """Return the id of a message, and the names of what its calls are about: rows, and what was made."""
        calls = self._calls(message_id)
        names = (frozenset({one.detail}) if self._makes(one) else one.keys for one in calls)
        return frozenset({message_id}.union(*names)) & (self._keys | {message_id})

    def _history(self, sent: Sent) -> History:
        deliveries = self.deliveries(sent.message_id)
        calls = self._calls(sent.message_id)
        steps = [Step(sent.time, "enqueued", sent.queue)]
        for delivery in deliveries:
            steps += _delivery_steps(delivery)
        if sent.expired_at is not None:
            steps.append(Step(sent.expired_at, "expired", "its retention period was over", failed=True))
        traces = [(one, self._services[one.service].trace(one.operation)) for one in calls]
        steps += [self._call_step(one) for one, trace in traces if trace.is_shown]
        published = [
            one.detail
            for one, trace in traces
            if trace.publishes and one.status is not None and one.code is None
        ]
        return History(
            sent.message_id,
            sent.queue,
            sent.time,
            self._state(sent, deliveries),
            published[-1] if published else "",
            sorted({one.detail for one, trace in traces if trace.makes and one.detail}),
            sorted(steps, key=lambda step: step.time),
            sent.body,
        )

    def _calls(self, message_id: str) -> Sequence[LoggedRequest]:
        """Return the calls that belong to a message, by the rules in the module's docstring."""
        naming = self._by_text.get(message_id, [])
        alone = [one for one in self.deliveries(message_id) if len(one.message_ids) == 1]
        own = {id(one): one for delivery in alone for one in self._during(delivery)}
        # What a call makes may share names, such as tags, with what is made for other messages.
        asked = [one for one in own.values() if not self._makes(one)]
        together = {text for one in naming for text in one.mentions | one.keys}
        together |= {text for one in asked for text in one.keys}
        known = together & self._keys
        found = {id(one): one for text in known for one in self._by_text[text] if text in one.keys}
        found |= {id(one): one for one in naming if message_id in one.mentions}
        return sorted((found | own).values(), key=lambda one: one.time)

    def _makes(self, one: LoggedRequest) -> bool:
        return self._services[one.service].trace(one.operation).makes

    def _during(self, delivery: Delivery) -> Iterable[LoggedRequest]:
        """Yield the calls made during a delivery, by its instance if that is known."""
        first = bisect_left(self._times, delivery.time)
        last = bisect_right(self._times, delivery.time + delivery.duration_ms / 1000)
        for one in self._requests[first:last]:
            # A fault may end a call before its caller is known.
            if delivery.instance_id is None or one.caller in (None, delivery.instance_id):
                yield one

    def _state(self, sent: Sent, deliveries: Sequence[Delivery]) -> str:
        last = deliveries[-1] if deliveries else None
        if sent.message_id in self._running:
            return "running"
        if last is not None and last.retry_at is not None and sent.message_id in self._states:
            return "retrying"
        if sent.message_id in self._states:
            return self._states[sent.message_id]
        if last is not None and last.succeeded:
            return "done"
        if sent.expired_at is not None:
            return EXPIRED
        if last is None:
            return "taken"
        return LOST if last.given_up and last.dead_letter_queue is None else "given up"

    def _call_step(self, one: LoggedRequest) -> Step:
        service = self._services[one.service]
        word, detail = service.describe(one)
        if one.fault is not None:
            detail = f"{detail} fault: {' '.join(filter(None, (one.fault, one.code)))}".strip()
        elif one.code is not None and one.code not in service.usual_codes:
            detail = f"{detail} {one.code}".strip()
        went_well = one.status is not None and one.code in (None, *service.usual_codes)
        return Step(one.time, word, detail, failed=not went_well or one.fault is not None)


def _delivery_steps(delivery: Delivery) -> list[Step]:
    receiver = f"to {delivery.instance_id}{', cold' if delivery.cold else ''}" if delivery.instance_id else ""
    others = len(delivery.message_ids) - 1
    detail = ", ".join(part for part in (receiver, f"with {others} more" if others else "") if part)
    end = delivery.time + delivery.duration_ms / 1000
    steps = [Step(delivery.time, f"delivered, attempt {delivery.attempt}", detail)]
    if delivery.succeeded:
        return [*steps, Step(end, "acknowledged")]
    if delivery.retry_at is not None:
        later = f"{max(0.0, delivery.retry_at - end):.0f} s later"
        return [*steps, Step(end, "to be retried", ", ".join(filter(None, (later, delivery.error))))]
    steps.append(Step(end, "failed", delivery.error or "", failed=True))
    if delivery.dead_letter_queue is not None:
        return [*steps, Step(end, "dead-lettered", f"to {delivery.dead_letter_queue}", failed=True)]
    return [*steps, Step(end, "given up" if delivery.given_up else "left in its queue", failed=True)]
