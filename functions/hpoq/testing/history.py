"""What happened, held against the invariants: a checker after the manner of Jepsen's.

A history collects the ends of deliveries, the events that came out, and the experiments that exist; `broken`
names every invariant of the product that they contradict.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fcruntime.jsonvalue import JsonObject, JsonValue

_EVENT_OF = {"created": "created", "rejected": "rejected", "failed": "failed"}


@dataclass
class History:
    """Rows of reports, CloudEvents, and (key, experiment id) pairs, in any order.

    `complete` says that `experiments` are all there are, and none is missing that an event may tell of.
    """

    rows: list[JsonObject] = field(default_factory=list)
    events: list[JsonObject] = field(default_factory=list)
    experiments: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False

    def add_report(self, report: JsonObject) -> None:
        """Take in what the handler returned, or what its failure reports."""
        messages = report.get("messages")
        self.rows += [row for row in messages if isinstance(row, dict)] if isinstance(messages, list) else []

    def broken(self) -> list[str]:
        """The broken invariants, each as a sentence; empty if all hold."""
        return [*self._duplicated(), *self._lost(), *self._two_faced(), *self._unexpected()]

    def _duplicated(self) -> Iterable[str]:
        for key, count in Counter(key for key, _ in self.experiments).items():
            if count > 1:
                yield f"I1: {count} experiments bear the key {key}"

    def _lost(self) -> Iterable[str]:
        told = {(_data(event).get("messageId"), _type_class(event)) for event in self.events}
        for row in self.rows:
            wanted = _EVENT_OF.get(str(row.get("outcome")))
            if wanted and (row.get("messageId"), wanted) not in told:
                yield f"I2: message {row.get('messageId')} ended as {wanted} without an event"

    def _two_faced(self) -> Iterable[str]:
        """A conflict's event stands for another request under the key, so it has an id of its own."""
        ids: defaultdict[tuple[JsonValue, str], set[JsonValue]] = defaultdict(set)
        for event in self.events:
            error = _data(event).get("error")
            if not (isinstance(error, dict) and error.get("code") == "IdempotencyConflict"):
                ids[_data(event).get("idempotencyKey"), _type_class(event)].add(event.get("id"))
        for (key, type_class), seen in ids.items():
            if len(seen) > 1:
                yield f"I3: {len(seen)} ids among the {type_class} events of {key}"

    def _unexpected(self) -> Iterable[str]:
        if not self.complete:
            return
        exist = {experiment_id for _, experiment_id in self.experiments}
        for event in self.events:
            experiment_id = _data(event).get("experimentId")
            if experiment_id is not None and experiment_id not in exist:
                yield f"unexpected: an event tells of experiment {experiment_id}, which does not exist"


def _data(event: JsonObject) -> JsonObject:
    data = event.get("data")
    return data if isinstance(data, dict) else {}


def _type_class(event: JsonObject) -> str:
    """`created` of `com.hpoq.experiment.created.v1`."""
    parts = str(event.get("type")).split(".")
    return parts[-2] if len(parts) > 1 else ""
