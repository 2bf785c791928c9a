"""What became of each message, as far as the cloud saw it: told from deliveries and from the log of calls.

The cloud knows nothing of what a function means by its calls. A call belongs to a message if it names the message, or
a key that some call names together with it: a row, a tag, an experiment; or if it was made while that message alone
was being delivered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alilocal.core.requestlog import LoggedRequest
from alilocal.eventstream.delivery import Delivery

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.core.world import Sent

_WORDS = {
    "CreateHpoExperiment": "created",
    "ListHpoExperiments": "looked for",
    "PublishMessage": "published",
    "PutEvents": "published",
    "UpdateRow": "saved",
    "GetRow": "read",
    "SendMessage": "sent",
}
_NOT_SHOWN = ("ReceiveMessage", "BatchReceiveMessage", "DeleteMessage")


@dataclass(frozen=True)
class Step:
    """One thing that happened; `failed` if it did not go well. `time` is on the cloud's clock."""

    time: float
    word: str
    detail: str = ""
    failed: bool = False


@dataclass(frozen=True)
class History:
    """A message and its steps, oldest first. `state` is where it stands, `outcome` the type of its last event."""

    message_id: str
    queue: str
    time: float
    state: str
    outcome: str
    steps: list[Step] = field(repr=False)
    body: str = field(repr=False)


class Histories:
    """The histories of the newest messages of a cloud, as of now."""

    def __init__(self, cloud: LocalCloud, most: int = 100) -> None:
        with cloud.changed:
            self._requests = sorted(cloud.requests, key=lambda one: one.time)
            self._deliveries = [one for stream in cloud.streams for one in stream.deliveries]
            self._running = {message for stream in cloud.streams for message in stream.running_ids}
            self._sent = list(cloud.journal)[-most:]
            self._states = {
                message_id: state for queue in cloud.queues for message_id, state in queue.states().items()
            }
        self._times = [one.time for one in self._requests]
        self._keys = {
            key
            for one in self._requests
            if one.operation in ("PutRow", "CreateHpoExperiment") and one.code is None
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

    def all(self) -> list[History]:
        """Newest first."""
        return [self._of(sent) for sent in reversed(self._sent)]

    def of(self, message_id: str) -> History | None:
        """That of one message; None if it is not among the newest."""
        return next((self._of(sent) for sent in self._sent if sent.message_id == message_id), None)

    def _of(self, sent: Sent) -> History:
        deliveries = self._by_message.get(sent.message_id, [])
        calls = self._calls(sent.message_id, deliveries)
        steps = [Step(sent.time, "enqueued", sent.queue)]
        for delivery in deliveries:
            steps += _delivery_steps(delivery)
        steps += [_call_step(one) for one in calls if one.operation not in _NOT_SHOWN]
        published = [one.detail for one in calls if _word(one) == "published" and one.code is None]
        return History(
            sent.message_id,
            sent.queue,
            sent.time,
            self._state(sent, deliveries),
            published[-1] if published else "",
            sorted(steps, key=lambda step: step.time),
            sent.body,
        )

    def _calls(self, message_id: str, deliveries: Sequence[Delivery]) -> list[LoggedRequest]:
        named = self._by_text.get(message_id, [])
        together = {text for one in named for text in one.mentions | one.keys} & self._keys
        found = {id(one): one for text in together for one in self._by_text[text] if text in one.keys}
        found |= {id(one): one for one in named if message_id in one.mentions}
        for delivery in deliveries:
            if len(delivery.message_ids) == 1:
                found |= {id(one): one for one in self._during(delivery)}
        return sorted(found.values(), key=lambda one: one.time)

    def _during(self, delivery: Delivery) -> Iterable[LoggedRequest]:
        """The calls made in a delivery: by its instance, or, where that is not known, at its time."""
        first = bisect_left(self._times, delivery.time)
        last = bisect_right(self._times, delivery.time + delivery.duration_ms / 1000)
        for one in self._requests[first:last]:
            # A call that a fault struck before it was looked at has no caller.
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
        if last is None:
            return "taken"
        return "done" if last.succeeded else "given up"


def _delivery_steps(delivery: Delivery) -> list[Step]:
    whom = f"to {delivery.instance_id}{', cold' if delivery.cold else ''}" if delivery.instance_id else ""
    others = len(delivery.message_ids) - 1
    detail = ", ".join(part for part in (whom, f"with {others} more" if others else "") if part)
    end = delivery.time + delivery.duration_ms / 1000
    steps = [Step(delivery.time, f"delivered, attempt {delivery.attempt}", detail)]
    if delivery.succeeded:
        return [*steps, Step(end, "acknowledged")]
    steps.append(Step(end, "failed", delivery.error or "", failed=True))
    if delivery.retry_at is not None:
        return [*steps, Step(end, "to be retried", f"{delivery.retry_at - end:.0f} s later")]
    if delivery.dead_letter_queue is not None:
        return [*steps, Step(end, "dead-lettered", f"to {delivery.dead_letter_queue}", failed=True)]
    return [*steps, Step(end, "given up" if delivery.given_up else "left in its queue", failed=True)]


def _word(one: LoggedRequest) -> str:
    if one.operation == "PutRow":
        refused = one.code == "OTSConditionCheckFail"
        if one.detail == "if absent":
            return "claim refused" if refused else "claimed"
        return "save refused" if refused else "saved"
    went_well = one.status is not None and one.code is None
    return _WORDS.get(one.operation, one.operation) if went_well else one.operation


def _call_step(one: LoggedRequest) -> Step:
    detail = "" if one.operation == "PutRow" else one.detail
    if one.fault is not None:
        detail = f"{detail} fault: {' '.join(filter(None, (one.fault, one.code)))}".strip()
    elif one.code is not None and one.code != "OTSConditionCheckFail":
        detail = f"{detail} {one.code}".strip()
    return Step(one.time, _word(one), detail, failed=one.status is None or one.code is not None)
