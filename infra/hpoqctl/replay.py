"""`hpoq replay`: run trigger events through the real handler, against a local cloud."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import click
from rich.text import Text

import alilocal
from alilocal.eventstream import EventStream
from fcruntime.context import Fc3Context, FunctionInfo
from fcruntime.invoke import invoke
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers import EventUnreadable
from hpoq.clock import Budget
from hpoq.contract.identity import find_marker_keys
from hpoq.errors import SettingsError, StoreError
from hpoq.function import EventFailed, Function
from hpoq.idempotency.sqlite import SqliteStore
from hpoq.idempotency.store import Store
from hpoq.observability import logs
from hpoq.processing.outcome import Outcome
from hpoq.publishers import Publisher
from hpoq.testing.history import History
from hpoqctl.files import Document, PathName, read_documents
from hpoqctl.numbers import WholeNumber
from hpoqctl.output import OUTCOME_STYLES, console, count_of, json_option, print_json, track_progress
from hpoqctl.pipeline import WATCH_QUEUE, create_pipeline, make_environment, make_environment_at
from hpoqctl.services import usage_errors

_TIMEOUT_SECONDS = 300
_LONGEST_ID, _LONGEST_RESULT = 36, 100
_ENDS = {
    "created": "created an experiment",
    "duplicate": "repeated an earlier one",
    "rejected": "rejected as invalid",
    "retry": "to be retried",
    "failed": "given up",
    "accepted": "accepted as dry runs",
    "stopping": "stopped an experiment",
    "finished": "followed to the end",
}
# The local cloud's experiments end within a minute; a look that fails is repeated.
_LOOK_SECONDS = 120.0
_MOST_LOOKS = 10


@dataclass
class _Recorder:
    """A publisher that also records what it published."""

    publisher: Publisher
    events: list[JsonObject]

    def publish(self, event: Mapping[str, JsonValue], *, budget: Budget | None = None) -> None:
        self.publisher.publish(event, budget=budget)
        self.events.append(dict(event))


@dataclass
class _Run:
    """The results of a run. `places` has the file of each row in the history, `errors` the failed invocations."""

    history: History = field(default_factory=History)
    places: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def deliver(self, function: Function, document: Document) -> None:
        """Pass one event to the handler as FC does."""
        reports: list[JsonObject] = []

        def handler(event: bytes, context: object) -> JsonObject:
            try:
                reports.append(function.handle(event, context))
            except EventFailed as exc:
                reports.append(exc.report.as_json())
                raise
            return reports[-1]

        # FC keeps the request id when it repeats a call, so each event has one id however often it is delivered.
        request_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{document.place}:{document.data.hex()}")
        context = Fc3Context(f"1-{request_id}", FunctionInfo(timeout=_TIMEOUT_SECONDS))
        result = invoke(handler, document.data, context)
        if isinstance(result.exception, SettingsError):
            raise result.exception
        if isinstance(result.exception, EventUnreadable):
            self.errors.append(f"{document.place}: {result.exception}")
        elif not reports:
            self.errors.append(f"{document.place}: {result.body.decode()}")
        for report in reports:
            self.history.add_report(report)
        self.places += [document.place] * (len(self.history.rows) - len(self.places))

    def count_outcomes(self) -> dict[str, int]:
        """Return how many messages ended in each outcome."""
        counts = {outcome.value: 0 for outcome in Outcome}
        for row in self.history.rows:
            counts[str(row["outcome"])] += 1
        return counts


@click.command(name="replay")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--times", type=WholeNumber(1), metavar="N", default=1, help="Deliver all events N times.")
@click.option(
    "--state", type=PathName(dir_okay=False), help="Keep the records in this SQLite file between runs."
)
@click.option(
    "--endpoint", metavar="URL", help="Use a running `hpoq local` instead of an embedded local cloud."
)
@click.option("--strict", is_flag=True, help="Exit with 1 also if a message was rejected.")
@click.option(
    "--verbose", "-v", is_flag=True, help="Also print each event, and the function's log to standard error."
)
@json_option
@usage_errors()
def command(
    paths: Sequence[str],
    times: int,
    state: str | None,
    endpoint: str | None,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run trigger events through the function as Function Compute does, without a cloud account.

    A PATH is a file that contains one event as Function Compute passes it to the function, a JSON Lines file (.jsonl)
    with one event per line, a folder of such files, or - for standard input.

    The command prints a row for each message. With -v it also prints each published event. Without --endpoint, it
    follows the experiments to their ends after the last event, so that their finished events are published as well.

    Exit code 1 means that an event could not be read, that a message failed or must be retried, or that an invariant
    is broken.
    """
    logs.configure("DEBUG" if verbose else "CRITICAL", sys.stderr)
    documents = list(read_documents(paths))
    for document in documents:
        if document.problem is not None:
            raise click.BadParameter(f"{document.place}: {document.problem[0].message}")
    run = _Run()
    _deliver_documents(run, documents * times, state, endpoint)
    broken = [*run.errors, *run.history.broken()]
    if as_json:
        print_json(_compose_document(run, broken))
    else:
        _print_result(run, broken, verbose=verbose)
    counts = run.count_outcomes()
    bad = counts["retry"] + counts["failed"] + len(broken) + (counts["rejected"] if strict else 0)
    raise SystemExit(1 if bad else 0)


def _deliver_documents(
    run: _Run, documents: Sequence[Document], state: str | None, endpoint: str | None
) -> None:
    store, records = "sqlite:///:memory:", _open_records(state)
    wrap = partial(_Recorder, events=run.history.events)
    with alilocal.LocalCloud() as cloud:
        if endpoint:
            function = Function(make_environment_at(endpoint, store), store=records, wrap_publisher=wrap)
        else:
            create_pipeline(cloud)
            local = make_environment(cloud, cloud.endpoint, store)
            function = Function(local, session=cloud.session(), store=records, wrap_publisher=wrap)
        for document in track_progress(documents, "Replaying"):
            run.deliver(function, document)
        if endpoint is None:
            _follow_experiments(cloud, function)
        function.close()
        run.history.experiments = [
            (key, experiment.experiment_id)
            for experiment in cloud.experiments
            for key in find_marker_keys(experiment.tags, experiment.description)
        ]
        run.history.complete = endpoint is None and state is None


def _follow_experiments(cloud: alilocal.LocalCloud, function: Function) -> None:
    """End the experiments of `cloud`, and deliver their watch messages until their results are published."""

    def deliver(event: bytes) -> bool:
        context = Fc3Context(f"1-{uuid.uuid4()}", FunctionInfo(timeout=_TIMEOUT_SECONDS))
        return invoke(function.handle, event, context).exception is None

    stream = EventStream(cloud, queue=WATCH_QUEUE, invoke=deliver)
    for _ in range(_MOST_LOOKS):
        if not cloud.queues[WATCH_QUEUE].messages:
            return
        cloud.clock.advance(_LOOK_SECONDS)
        while stream.step():
            pass


def _open_records(state: str | None) -> Store:
    """Open the store of this run. Raises click.BadParameter if `state` is not a file of records."""
    records = SqliteStore(state or ":memory:")
    try:
        records.get("")
    except StoreError as exc:
        raise click.BadParameter(f"{state}: {exc}", param_hint="--state") from exc
    return records


def _compose_document(run: _Run, broken: Sequence[str]) -> dict[str, JsonValue]:
    messages: list[JsonValue] = [
        {**row, "event": place} for row, place in zip(run.history.rows, run.places, strict=True)
    ]
    return {
        "messages": messages,
        "events": list(run.history.events),
        "summary": dict(run.count_outcomes()),
        "broken": list(broken),
    }


def _print_result(run: _Run, broken: Sequence[str], *, verbose: bool) -> None:
    out, rows = console(), run.history.rows
    ids = max(map(len, ("message", *(_shorten(row["messageId"]) for row in rows))))
    places = _cut_common_folder(run.places)
    files = max(map(len, ("event", *places)))
    if rows:
        out.print(Text(f"  {'outcome':9}  {'message':{ids}}  {'key':8}  {'event':{files}}  result", "dim"))
    for row, place in zip(rows, places, strict=True):
        outcome, message, key = str(row["outcome"]), _shorten(row["messageId"]), str(row["key"])[:8]
        rest = f"  {message:{ids}}  {key:8}  {place:{files}}  {_find_result(row)}"
        out.print(Text.assemble("  ", (f"{outcome:9}", OUTCOME_STYLES.get(outcome, "")), rest))
    for event in run.history.events if verbose else ():
        out.print(Text(f"  {event['type']}  {event['id']}  {event['subject']}"))
    for sentence in broken:
        out.print(Text(f"  ERROR  {sentence}", "bold red"))
    out.print(Text(f"\n{_summarize(run, broken)}", "bold"))


def _shorten(message_id: JsonValue) -> str:
    return _cut(str(message_id or "-"), _LONGEST_ID)


def _cut(text: str, longest: int) -> str:
    """Return `text`, or its beginning with an ellipsis if it is longer than `longest`."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _cut_common_folder(places: Sequence[str]) -> list[str]:
    """Return `places` without the folder that all of them are in."""
    folder = os.path.commonpath(places) if len(set(places)) > 1 else ""
    return [place.removeprefix(f"{folder}/") for place in places]


def _find_result(row: JsonObject) -> str:
    """Return the experiment of a message, or why it has none."""
    error = row["error"]
    if not isinstance(error, dict):
        return str(row["experimentId"] or "")
    listed = error.get("violations")
    first = listed[0] if isinstance(listed, list) and listed else None
    if not isinstance(first, dict):
        return _cut(f"{error['code']}: {error['message']}", _LONGEST_RESULT)
    more = f" (and {len(listed) - 1} more)" if isinstance(listed, list) and len(listed) > 1 else ""
    text = f"{first['pointer'] or 'the document'}: {first['message']}"
    return f"{_cut(text, _LONGEST_RESULT)}{more}"


def _summarize(run: _Run, broken: Sequence[str]) -> str:
    """Return a sentence on how the messages ended, and whether each had one experiment at most."""
    counts = run.count_outcomes()
    ends = [f"{count} {_ENDS.get(outcome, outcome)}" for outcome, count in counts.items() if count]
    count = count_of(len(run.history.rows), "message")
    messages = f"{count}: {', '.join(ends)}." if ends else f"{count}."
    if broken:
        return f"{messages} {count_of(len(broken), 'error')}, see above."
    return f"{messages} No message was lost, and no experiment was created twice."
