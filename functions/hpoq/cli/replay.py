"""`hpoq replay`: trigger events through the real handler, against a local cloud."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import click
from rich.text import Text

import alilocal
from fcruntime.context import Fc3Context, FunctionInfo
from fcruntime.invoke import invoke
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cli.cloud import environment, lay_out, remote_environment
from hpoq.cli.files import Document, read_documents
from hpoq.cli.output import console, print_json, with_progress
from hpoq.cli.rows import lines_of
from hpoq.contract.marker import marked_with
from hpoq.errors import SettingsError, StoreError
from hpoq.function import EventFailed, Function
from hpoq.idempotency.sqlite import SqliteStore
from hpoq.idempotency.store import Store
from hpoq.observability import logs
from hpoq.processing.outcome import Outcome
from hpoq.publishers import Publisher
from hpoq.testing.history import History

_TIMEOUT_SECONDS = 300


@dataclass
class _Recorder:
    """A publisher that keeps what it published."""

    publisher: Publisher
    events: list[JsonObject]

    def publish(self, event: Mapping[str, JsonValue], *, give_up_at: float | None = None) -> None:
        self.publisher.publish(event, give_up_at=give_up_at)
        self.events.append(dict(event))


@dataclass
class _Run:
    """What came of the events. `places` names the file of each row; `errors` are failed invocations."""

    history: History = field(default_factory=History)
    places: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def deliver(self, function: Function, document: Document) -> None:
        """Hand one event to the handler as FC would."""
        reports: list[JsonObject] = []

        def handler(event: bytes, context: object) -> JsonObject:
            try:
                reports.append(function.handle(event, context))
            except EventFailed as exc:
                reports.append(exc.report.as_json())
                raise
            return reports[-1]

        # FC repeats a call under one request id, so one event has one however often it is delivered.
        request_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{document.place}:{document.data.hex()}")
        context = Fc3Context(f"1-{request_id}", FunctionInfo(timeout=_TIMEOUT_SECONDS))
        result = invoke(handler, document.data, context)
        if isinstance(result.exception, SettingsError):
            raise result.exception
        if not reports:
            self.errors.append(f"{document.place}: {result.body.decode()}")
        for report in reports:
            self.history.add_report(report)
        self.places += [document.place] * (len(self.history.rows) - len(self.places))

    def summary(self) -> dict[str, int]:
        counts = {outcome.value: 0 for outcome in Outcome}
        for row in self.history.rows:
            counts[str(row["outcome"])] += 1
        return counts


@click.command(name="replay")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--times", type=click.IntRange(1), default=1, help="Deliver everything N times over.")
@click.option("--state", type=click.Path(dir_okay=False), help="Keep the records in FILE between runs.")
@click.option(
    "--endpoint", metavar="URL", help="Use the local cloud that runs at URL instead of an embedded one."
)
@click.option("--strict", is_flag=True, help="Exit 1 also where a message was rejected.")
@click.option("--verbose", "-v", is_flag=True, help="Show the function's log lines.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    paths: Sequence[str],
    times: int,
    state: str | None,
    endpoint: str | None,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run trigger events through the function, exactly as Function Compute would, without a cloud account.

    A PATH is a file that holds one event as FC hands it over, a folder of such files, a .jsonl file with one
    event a line, or - for standard input. Each message's outcome and every published event are shown; exit
    code 1 means that a message was left to retry, failed, or that an invariant was broken.
    """
    logs.configure("DEBUG" if verbose else "CRITICAL", sys.stderr)
    documents = list(read_documents(paths))
    run = _Run()
    try:
        _replay(run, documents * times, state, endpoint)
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc
    broken = [*run.errors, *run.history.broken()]
    if as_json:
        print_json(_document(run, broken))
    else:
        _show(run, broken)
    counts = run.summary()
    bad = counts["retry"] + counts["failed"] + len(broken) + (counts["rejected"] if strict else 0)
    raise SystemExit(1 if bad else 0)


def _replay(run: _Run, documents: Sequence[Document], state: str | None, endpoint: str | None) -> None:
    store, records = "sqlite:///:memory:", _records(state)
    wrap = _recording(run.history.events)
    with alilocal.LocalCloud() as cloud:
        if endpoint:
            function = Function(remote_environment(endpoint, store), store=records, wrap_publisher=wrap)
        else:
            lay_out(cloud)
            local = environment(cloud, cloud.endpoint, store)
            function = Function(local, session=cloud.session(), store=records, wrap_publisher=wrap)
        for document in with_progress(documents, "Replaying"):
            run.deliver(function, document)
        function.close()
        run.history.experiments = [
            (key, experiment.experiment_id)
            for experiment in cloud.experiments
            for key in marked_with(experiment.tags, experiment.description)
        ]
        run.history.complete = endpoint is None and state is None


def _records(state: str | None) -> Store:
    """The records of this run; raises click's usage error for a file that can hold none."""
    records = SqliteStore(state or ":memory:")
    try:
        records.get("")
    except StoreError as exc:
        raise click.BadParameter(f"{state}: {exc}", param_hint="--state") from exc
    return records


def _recording(events: list[JsonObject]) -> Callable[[Publisher], Publisher]:
    return lambda publisher: _Recorder(publisher, events)


def _document(run: _Run, broken: Sequence[str]) -> dict[str, JsonValue]:
    messages: list[JsonValue] = [
        {**row, "event": place} for row, place in zip(run.history.rows, run.places, strict=True)
    ]
    return {
        "messages": messages,
        "events": list(run.history.events),
        "summary": dict(run.summary()),
        "broken": list(broken),
    }


def _show(run: _Run, broken: Sequence[str]) -> None:
    out = console()
    before = None
    for row, place in zip(run.history.rows, run.places, strict=True):
        if place != before:
            out.print(Text(place, "bold"))
            before = place
        for line in lines_of(row):
            out.print(line)
    if run.history.events:
        out.print(f"\nPublished, {len(run.history.events)} events:")
    for event in run.history.events:
        out.print(Text(f"  {event['type']}  {event['id']}  {event['subject']}"))
    for sentence in broken:
        out.print(Text(f"BROKEN  {sentence}", "bold red"))
    out.print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in run.summary().items()))
