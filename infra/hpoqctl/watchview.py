"""Explain how the experiment of a request is followed, from the record of its watch messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fcruntime.jsonvalue import JsonObject
from hpoq.contract.identity import WATCH, derive_key
from hpoq.idempotency.record import Record, State
from hpoq.processing.envelope import Envelope
from hpoq.processing.watchorder import WatchOrder, decode_order, encode_order, identify_watch
from hpoqctl.output import count_of
from hpoqctl.recordview import format_time, read_event

# A message that is due is delivered within seconds; later than this, something holds it up.
_LATE_SECONDS = 300.0


@dataclass(frozen=True)
class Watching:
    """How an experiment is followed at the moment `now`.

    `order` is the content of its newest watch message that is known. `record` is None until the first look. `due_at`
    is when the next look is due, or None if that is not known.
    """

    key: str
    order: WatchOrder
    record: Record | None
    now: float
    due_at: float | None = None

    @property
    def result(self) -> JsonObject | None:
        """The finished event, or None if the end is not known yet."""
        return read_event(self.record)

    @property
    def is_over(self) -> bool:
        """Whether the finished event is published."""
        return self.record is not None and self.record.published_at is not None

    @property
    def last_look_at(self) -> float | None:
        """When the function looked at the experiment last, or None if it has not yet."""
        record = self.record
        is_over = record is not None and self.result is None and record.lease_until <= self.now
        return record.lease_until if record is not None and is_over else None

    def lines(self) -> Iterator[str]:
        """Yield sentences on the last look, on the next one, and on the result."""
        record, status = self.record, self.order.last_status or "not known"
        if record is None:
            yield "Its experiment is followed. It has not been checked yet."
        elif self.result is not None:
            data = self.result["data"]
            ended = data.get("status") if isinstance(data, dict) else None
            out = "was published" if record.published_at else "is not published yet"
            yield f"Its experiment has ended with the status {ended}; the finished event {out}."
            return
        elif self.now < record.lease_until:
            yield "Its experiment is followed. A delivery is checking it now."
        else:
            checks = count_of(record.attempts, "check")
            yield (
                f"Its experiment is followed: {checks}, the last one at {format_time(record.lease_until)} with the "
                f"status {status}."
            )
        if self.due_at is not None:
            late = self.now - self.due_at
            yield f"The next check is due at {format_time(self.due_at)}."
            if late > _LATE_SECONDS:
                yield f"That was {late:.0f} s ago. Check that HPOQ_WATCH_QUEUE has a trigger."
                yield f"If it has one, look for dead letters: hpoq redrive --dry-run --match {self.key}"
                yield f"If there is none, the watch message is lost: hpoq redrive --watch {self.order.key}"

    def make_message(self) -> Envelope:
        """Return the newest watch message, to be sent in place of one that is lost.

        It has the number of the lost one. If that arrives after all, the next send merges the two.
        """
        sequence = 0 if self.record is None else self.record.sequence
        body = encode_order(self.order).encode()
        return Envelope(WATCH, self.order.identity, self.key, body, sequence)

    def as_json(self) -> JsonObject:
        """Return the same for machines."""
        record = self.record
        return {
            "key": self.key,
            "experimentId": self.order.experiment_id,
            "looks": 0 if record is None else record.attempts,
            "lastLookAt": self.last_look_at,
            "lastStatus": self.order.last_status,
            "nextLookAt": None if self.result else self.due_at,
            "publishedAt": None if record is None else record.published_at,
            "result": self.result,
        }


def find_watching(
    find: Callable[[str], Record | None], record: Record | None, now: float, namespace: str
) -> Watching | None:
    """Return how the experiment of `record` is followed, or None if it has none or it is not followed.

    `find` returns the record of a key.
    """
    if record is None or record.watch_order is None or record.experiment_id is None:
        return None
    identity = identify_watch(record.key, record.experiment_id)
    key = derive_key(WATCH, identity, namespace)
    watched = find(key)
    if watched is not None and watched.state is State.REJECTED:
        # That a message came before its request had its experiment ends nothing.
        watched = None
    order = decode_order((watched and watched.watch_order) or record.watch_order)
    # Until an experiment that was found or resolved is announced, the order does not name it.
    if order is None or order.identity != identity:
        return None
    due = order.next_at
    if watched is None:
        # The first watch message is sent when the created event is published.
        due = None if record.published_at is None else max(due or 0.0, record.published_at)
    return Watching(key, order, watched, now, due)
