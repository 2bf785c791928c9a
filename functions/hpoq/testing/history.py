"""The history checker: checks what happened against the invariants of the product, as Jepsen's checkers do.

A history collects the ends of deliveries, the events that were published, and the experiments that exist.
`broken` names every invariant that they contradict:

    I1  at most one experiment per key
    I2  a message that ended with something to announce has its event, and no rejected or failed message
        has an experiment
    I3  events of one key and type have one id, events of one id are equal, and no key has two outcomes
    I6  a duplicate was answered before, a created event names the experiment of its own key, and in the end
        every experiment is announced
    I7  an experiment has one finished event, which follows its created event; in the end every created experiment
        has one, if experiments are followed

An event of an idempotency conflict answers another request that came under the same key. It has an id of its
own and says nothing about the key's outcome.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.events import outcome_of

_OUTCOMES = ("created", "rejected", "failed")
_ANNOUNCED = (*_OUTCOMES, "accepted", "stopping", "finished")
"""The outcomes of deliveries that publish an event."""
_CIRCUMSTANCES = ("messageId", "requestId", "attempts", "timings", "warnings")


@dataclass
class History:
    """Rows of reports, CloudEvents, and pairs of key and experiment id, each in any order.

    An experiment without a marker has the key "". `complete` says that no event and no experiment is missing
    that a row or an event may refer to, `finished` that nothing is under way any more. `redriven` are the keys
    whose dead letters were sent again: for these a failure is not final. `watched` says that every experiment is
    followed to its end.
    """

    rows: list[JsonObject] = field(default_factory=list)
    events: list[JsonObject] = field(default_factory=list)
    experiments: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False
    finished: bool = False
    redriven: set[str] = field(default_factory=set)
    watched: bool = False

    def add_report(self, report: JsonObject) -> None:
        """Add the rows of what the handler returned, or of what its failure reports."""
        messages = report.get("messages")
        self.rows += [row for row in messages if isinstance(row, dict)] if isinstance(messages, list) else []

    def broken(self) -> list[str]:
        """Return the broken invariants, each as a sentence; empty if all hold."""
        evidence = _Evidence(self)
        return [sentence for check in _CHECKS for sentence in check(evidence)]


class _Row:
    def __init__(self, row: JsonObject) -> None:
        self.message_id = row.get("messageId")
        self.key = row.get("key")
        self.outcome = str(row.get("outcome"))
        self.is_conflict = _is_conflict(row)
        error = row.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        # A newer copy of the message is in the queue: it is what will be answered.
        self.is_superseded = code == "Superseded"
        self.is_own_event = code == "OwnEvent"


class _Event:
    def __init__(self, document: JsonObject) -> None:
        data = document.get("data")
        self.document = document
        self.data: JsonObject = data if isinstance(data, dict) else {}
        self.id = document.get("id")
        self.kind = outcome_of(document)
        self.key = self.data.get("idempotencyKey")
        self.message_id = self.data.get("messageId")
        self.experiment_id = self.data.get("experimentId")
        self.is_conflict = _is_conflict(self.data)

    def content(self, *, with_error: bool) -> str:
        """Return as comparable text what every event of this id must say alike.

        The event of an expired record is composed again from a later delivery, so what belongs to one delivery may
        differ: the event's time and trace, the ids of message and request, attempts, timings, and the warnings, which
        depend on how a producer wrote the request.
        """
        envelope = {**self.document, "time": None, "traceparent": None}
        kept = {name: value for name, value in self.data.items() if name not in _CIRCUMSTANCES}
        if not with_error:
            kept.pop("error", None)
        return json.dumps({**envelope, "data": kept}, sort_keys=True)


class _Evidence:
    """A history in the form in which the checks look at it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.rows = [_Row(row) for row in history.rows]
        self.events = [_Event(event) for event in history.events]
        self.ids_of_key: defaultdict[JsonValue, list[str]] = defaultdict(list)
        self.keys_of_id: defaultdict[JsonValue, set[str]] = defaultdict(set)
        for key, experiment_id in history.experiments:
            self.keys_of_id[experiment_id].add(key)
            if key:
                self.ids_of_key[key].append(experiment_id)

    def is_redriven(self, key: JsonValue) -> bool:
        return isinstance(key, str) and key in self.history.redriven


def _two_experiments(seen: _Evidence) -> Iterator[str]:
    for key, experiment_ids in seen.ids_of_key.items():
        if len(experiment_ids) > 1:
            yield f"I1: {len(experiment_ids)} experiments carry the key {key}"


def _ended_without_event(seen: _Evidence) -> Iterator[str]:
    # Also by the key: a delivery may publish the event of another message that brought the same key.
    published = {(name, event.kind) for event in seen.events for name in (event.message_id, event.key)}
    for row in seen.rows:
        if row.outcome in _ANNOUNCED and not published & {
            (row.message_id, row.outcome),
            (row.key, row.outcome),
        }:
            yield f"I2: message {row.message_id} ended as {row.outcome} without an event"


def _refused_although_created(seen: _Evidence) -> Iterator[str]:
    rows = [("message", row.message_id, row.key, row.outcome, row.is_conflict) for row in seen.rows]
    events = [("event", event.id, event.key, event.kind, event.is_conflict) for event in seen.events]
    for what, name, key, outcome, is_conflict in dict.fromkeys([*rows, *events]):
        refused = outcome == "rejected" or (outcome == "failed" and not seen.is_redriven(key))
        if refused and not is_conflict and key in seen.ids_of_key:
            experiments = ", ".join(seen.ids_of_key[key])
            yield f"I2: {what} {name} says {outcome}, but experiment {experiments} carries its key {key}"


def _several_ids(seen: _Evidence) -> Iterator[str]:
    ids: defaultdict[tuple[JsonValue, str, JsonValue], set[JsonValue]] = defaultdict(set)
    for event in seen.events:
        if not event.is_conflict:
            # Each dry run has an event of its own.
            message = event.message_id if event.kind == "accepted" else None
            ids[event.key, event.kind, message].add(event.id)
    for (key, kind, _), found in ids.items():
        if len(found) > 1:
            yield f"I3: the {kind} events of {key} have {len(found)} ids"


def _several_contents(seen: _Evidence) -> Iterator[str]:
    contents: defaultdict[JsonValue, set[str]] = defaultdict(set)
    for event in seen.events:
        # A message that was redriven may fail again, for another reason.
        with_error = not (event.kind == "failed" and seen.is_redriven(event.key))
        contents[event.id].add(event.content(with_error=with_error))
    for event_id, found in contents.items():
        if len(found) > 1:
            yield f"I3: events of the id {event_id} have {len(found)} different contents"


def _several_outcomes(seen: _Evidence) -> Iterator[str]:
    outcomes: defaultdict[JsonValue, set[str]] = defaultdict(set)
    for event in seen.events:
        taken_back = event.kind == "failed" and seen.is_redriven(event.key)
        if event.kind in _OUTCOMES and not event.is_conflict and not taken_back:
            outcomes[event.key].add(event.kind)
    for key, found in outcomes.items():
        if len(found) > 1:
            yield f"I3: the key {key} has events of several outcomes: {', '.join(sorted(found))}"


def _duplicate_of_nothing(seen: _Evidence) -> Iterator[str]:
    answered = {event.key for event in seen.events}
    for row in seen.rows:
        known = row.key in answered or row.key in seen.ids_of_key or row.is_own_event
        pending = row.is_superseded and not seen.history.finished
        if seen.history.complete and row.outcome == "duplicate" and not known and not pending:
            yield f"I6: message {row.message_id} is a duplicate, but its key {row.key} has no event"


def _experiment_of_another_key(seen: _Evidence) -> Iterator[str]:
    for event in seen.events:
        # An experiment without a marker may be anyone's: an operator may have assigned it.
        others = seen.keys_of_id.get(event.experiment_id, set()) - {""}
        if event.kind == "created" and others and event.key not in others:
            yield (
                f"I6: the created event of {event.key} names experiment {event.experiment_id}, "
                f"which carries the key {', '.join(sorted(others))}"
            )


def _unknown_experiment(seen: _Evidence) -> Iterator[str]:
    for event in seen.events:
        missing = event.experiment_id is not None and event.experiment_id not in seen.keys_of_id
        if seen.history.complete and missing:
            yield f"unexpected: an event names experiment {event.experiment_id}, which does not exist"


def _never_announced(seen: _Evidence) -> Iterator[str]:
    announced = {event.experiment_id for event in seen.events if event.kind == "created"}
    for key, experiment_id in seen.history.experiments:
        ended = seen.history.complete and seen.history.finished
        if ended and key and experiment_id not in announced:
            yield f"I6: no created event names experiment {experiment_id}, which carries the key {key}"


def _several_results(seen: _Evidence) -> Iterator[str]:
    results: defaultdict[JsonValue, set[JsonValue]] = defaultdict(set)
    for event in seen.events:
        if event.kind == "finished":
            results[event.experiment_id].add(event.id)
    for experiment_id, found in results.items():
        if len(found) > 1:
            yield f"I7: experiment {experiment_id} has {len(found)} finished events"


def _result_of_nothing(seen: _Evidence) -> Iterator[str]:
    created = {(event.key, event.experiment_id) for event in seen.events if event.kind == "created"}
    for event in seen.events:
        if event.kind == "finished" and (event.key, event.experiment_id) not in created:
            yield f"I7: experiment {event.experiment_id} has a finished event of {event.key}, and no created event"


def _no_result(seen: _Evidence) -> Iterator[str]:
    if not (seen.history.watched and seen.history.finished):
        return
    created = [event.experiment_id for event in seen.events if event.kind == "created"]
    finished = {event.experiment_id for event in seen.events if event.kind == "finished"}
    for experiment_id in dict.fromkeys(created):
        if experiment_id not in finished:
            yield f"I7: experiment {experiment_id} was created and followed, and has no finished event"


_CHECKS: tuple[Callable[[_Evidence], Iterator[str]], ...] = (
    _two_experiments,
    _ended_without_event,
    _refused_although_created,
    _several_ids,
    _several_contents,
    _several_outcomes,
    _duplicate_of_nothing,
    _experiment_of_another_key,
    _unknown_experiment,
    _never_announced,
    _several_results,
    _result_of_nothing,
    _no_result,
)


def _is_conflict(document: JsonObject) -> bool:
    error = document.get("error")
    return isinstance(error, dict) and error.get("code") == "IdempotencyConflict"
