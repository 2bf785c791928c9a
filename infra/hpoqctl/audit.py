"""`hpoq audit`: compare the experiments of the account with the records. It reads and never writes."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial

import click
from rich.progress import Progress
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.clock import Clock, SystemClock
from hpoq.cloud.experiments import Experiment, ExperimentPage, read_through
from hpoq.cloud.paiautoml import PaiAutoMl, identify_place, is_elsewhere
from hpoq.contract.events import outcome_of
from hpoq.contract.identity import find_marker_keys
from hpoq.errors import CallError, Incomplete, NotFound, RecordUnreadable, StoreError
from hpoq.idempotency.record import Record, State, decode
from hpoq.idempotency.store import Store
from hpoq.processing.reconcile import ZONE_MARGIN
from hpoq.settings import Settings
from hpoqctl.numbers import Number
from hpoqctl.output import console, count_of, json_option, notes, print_json
from hpoqctl.services import (
    experiments_endpoint,
    explain_store_failure,
    explain_unreachable,
    find_store,
    open_experiments,
    read_clock,
    read_settings,
    scan_records,
    store_option,
    store_url,
    usage_errors,
)
from hpoqctl.watchview import find_watching

_PAGE = 100
_DAY = 86_400.0
# A listing may be this far behind a create, and clocks may differ, so younger experiments are skipped.
_MARGIN_SECONDS = 120.0
# A watch message that cannot be processed comes back once an hour at least.
_OVERDUE_SECONDS = 7200.0
# The fingerprints of watch messages, and of the notes on who stops an experiment.
_WATCH = "watch"
_FOLLOWING = (_WATCH, "note")
_SECOND = "second-experiment"
_OTHER = "other-experiment"
_NO_EXPERIMENT = "no-experiment"
_NO_RECORD = "no-record"
_UNANNOUNCED = "unannounced-experiment"
_OUTDATED = "outdated-record"
_UNREADABLE = "unreadable-record"
_INCOMPLETE = (
    ". Experiments were deleted while they were listed. Run the command again, with a higher --rate."
)
_ADVICE = {
    _SECOND: "Stop the ones that are not announced. The event of the key names the announced one: hpoq status --key",
    _OTHER: "Compare both experiments in the console of PAI. The one in the record was announced.",
    _NO_EXPERIMENT: "It was deleted, or these credentials cannot see it.",
    _NO_RECORD: "Its record was deleted, or another deployment created it (its records are in another table).",
    _UNANNOUNCED: "The event of the key says that there is none. Stop it in the console of PAI, or use its result.",
    _OUTDATED: "The next delivery of the key would create another one. Run: hpoq resolve KEY --experiment ID",
    _UNREADABLE: "A later version wrote it, or it is damaged: see RecordUnreadable in the runbook.",
}


@dataclass(frozen=True)
class Finding:
    """A difference between the record of a key and its experiments."""

    kind: str
    key: str
    experiments: tuple[str, ...]
    recorded: str | None = None

    def as_json(self) -> JsonObject:
        """Return the finding for machines."""
        return {
            "finding": self.kind,
            "key": self.key,
            "experimentIds": list(self.experiments),
            "recordedExperimentId": self.recorded,
        }


@dataclass
class Audit:
    """How many records and experiments were compared, and the differences.

    `others` is how many of the records are not those of requests: hpoq keeps them to follow and stop experiments.
    `elsewhere` is how many experiments were created at another endpoint, and are not known here. `overdue` are the
    keys of followed experiments that are no longer checked, because their watch messages are lost or not delivered.
    """

    since: float
    records: int = 0
    others: int = 0
    experiments: int = 0
    unmarked: int = 0
    elsewhere: int = 0
    overdue: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> JsonObject:
        """Return the audit for machines."""
        findings: list[JsonValue] = [finding.as_json() for finding in self.findings]
        return {
            "since": self.since,
            "records": self.records,
            "otherRecords": self.others,
            "experiments": self.experiments,
            "unmarkedExperiments": self.unmarked,
            "experimentsElsewhere": self.elsewhere,
            "overdueChecks": [*self.overdue],
            "findings": findings,
        }


class Auditor:
    """One audit. Between two calls it waits `pause` seconds; `until` is when it began, on the clock of the records.

    The records are read before the experiments. A message that is processed meanwhile has its record first and its
    experiment later, so the order causes no false finding. A key may be used again `retention` seconds after its end.
    `place` identifies the endpoint of `client`, None if every experiment must be there.
    """

    def __init__(
        self,
        store: Store,
        client: PaiAutoMl,
        clock: Clock,
        *,
        since: float,
        until: float,
        retention: float = math.inf,
        workspace_id: str | None = None,
        pause: float = 0.0,
        place: str | None = None,
        namespace: str = "",
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._retention = retention
        self._workspace_id = workspace_id
        self._pause = pause
        self._until = until
        self._place = place
        self._namespace = namespace
        self.audit = Audit(since)
        self._listed: dict[str, Experiment] = {}

    def run(self) -> Audit:
        """Compare everything since `since`. Raises CallError and StoreError."""
        records = self._read_records()
        self.audit.others = sum(map(_is_follower, records.values()))
        self.audit.overdue = sorted(self._find_overdue(records))
        self._read_experiments(self._workspace_id)
        self._find_missing(records)
        self._compare_keys(self._find_keys(), records)
        self.audit.findings.sort(key=lambda finding: (finding.kind != _SECOND, finding.kind, finding.key))
        return self.audit

    def _read_records(self) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for key, text in scan_records(self._store, self._wait):
            self.audit.records += 1
            try:
                found[key] = decode(key, text)
            except RecordUnreadable:
                self.audit.findings.append(Finding(_UNREADABLE, key, ()))
        return found

    def _read_experiments(self, workspace_id: str | None) -> None:
        for rows in read_through(partial(self._read_page, workspace_id), _PAGE):
            self._listed |= {row.experiment_id: row for row in rows if not row.deleted}

    def _read_page(self, workspace_id: str | None, number: int) -> ExperimentPage:
        self._wait()
        earliest = datetime.fromtimestamp(self.audit.since, timezone.utc) - ZONE_MARGIN
        return self._client.list_hpo_experiments(
            workspace_id=workspace_id,
            min_create_time=earliest,
            page_number=number,
            page_size=_PAGE,
        )

    def _find_keys(self) -> dict[str, dict[str, Experiment]]:
        """Return the listed experiments of each key by id, and count those without a key."""
        by_key = defaultdict[str, dict[str, Experiment]](dict)
        for row in self._listed.values():
            keys = find_marker_keys(row.tags, row.description)
            self.audit.unmarked += not keys
            for key in keys:
                by_key[key][row.experiment_id] = row
        self.audit.experiments = len(self._listed)
        return by_key

    def _compare_keys(
        self, by_key: Mapping[str, Mapping[str, Experiment]], records: Mapping[str, Record]
    ) -> None:
        unreadable = {finding.key for finding in self.audit.findings if finding.kind == _UNREADABLE}
        unknown = sorted(by_key.keys() - records.keys() - unreadable)
        later = self._store.get_many(unknown) if unknown else {}
        for key, found in by_key.items():
            record = records.get(key) or later.get(key)
            experiments = {
                name: row for name, row in found.items() if not self._is_of_earlier_use(row, record)
            }
            ids = tuple(sorted(experiments))
            recorded = record.experiment_id if record is not None else None
            if len(ids) > 1:
                self.audit.findings.append(Finding(_SECOND, key, ids, recorded))
            elif key in unreadable:
                continue
            elif recorded is not None and ids and recorded not in ids:
                self.audit.findings.append(Finding(_OTHER, key, ids, recorded))
            elif record is None and self._is_due(experiments.values()):
                self.audit.findings.append(Finding(_NO_RECORD, key, ids))
            elif ids and record is not None and self._is_due(experiments.values()):
                kind = self._find_contradiction(record)
                self.audit.findings += [Finding(kind, key, ids)] if kind is not None else []

    def _is_of_earlier_use(self, row: Experiment, record: Record | None) -> bool:
        """Return whether `row` was created so long before the claim of `record` that its key was free again."""
        if record is None or row.created_at is None:
            return False
        free_at = row.created_at.timestamp() + self._retention - ZONE_MARGIN.total_seconds()
        return free_at <= record.claimed_at

    def _find_contradiction(self, record: Record) -> str | None:
        """Return the kind of finding if `record` says that its key has no experiment, or None.

        It may say so because its event does, or because nothing was sent yet: then it comes from a backup. The record
        is read again, because a delivery may have found the experiment since.
        """
        present = self._store.get(record.key) if _denies_experiment(record) else None
        if present is None or not _denies_experiment(present):
            return None
        return _OUTDATED if present.state is State.IN_PROGRESS else _UNANNOUNCED

    def _is_due(self, experiments: Iterable[Experiment]) -> bool:
        """Return whether a record must exist: the experiment is neither from before `since` nor brand new."""
        times = [row.created_at for row in experiments if row.created_at]
        earliest, latest = self.audit.since, self._until - _MARGIN_SECONDS
        return all(earliest <= time.timestamp() <= latest for time in times)

    def _find_missing(self, records: Mapping[str, Record]) -> None:
        """Look up the recorded experiments that are not listed, and list their workspaces.

        Without a workspace a service may list the default one only.
        """
        workspaces = {self._workspace_id}
        for key, record in records.items():
            experiment_id, is_old = record.experiment_id, record.claimed_at < self.audit.since
            if experiment_id is None or experiment_id in self._listed or is_old or _is_follower(record):
                continue
            found = self._look_up(experiment_id)
            if found is None and is_elsewhere(record.place, self._place):
                self.audit.elsewhere += 1
            elif found is None:
                self.audit.findings.append(Finding(_NO_EXPERIMENT, key, (), experiment_id))
            elif self._workspace_id is None and found.workspace_id not in workspaces:
                workspaces.add(found.workspace_id)
                self._read_experiments(found.workspace_id)

    def _find_overdue(self, records: Mapping[str, Record]) -> Iterator[str]:
        """Yield the keys whose experiments are followed, and were to be checked long ago."""
        checked = {record.experiment_id for record in records.values() if record.fingerprint == _WATCH}
        for key, record in records.items():
            watching = find_watching(records.get, record, self._until, self._namespace)
            if watching is None or watching.is_over or watching.due_at is None:
                continue
            # Another namespace in the same store follows it under another key.
            is_foreign = watching.record is None and record.experiment_id in checked
            if not is_foreign and self._until - watching.due_at > _OVERDUE_SECONDS:
                yield key

    def _look_up(self, experiment_id: str) -> Experiment | None:
        """Return an experiment that the listing does not show, or None if the service does not know it either."""
        self._wait()
        try:
            found = self._client.get_hpo_experiment(experiment_id)
        except NotFound:
            return None
        return None if found.deleted else found

    def _wait(self) -> None:
        self._clock.sleep(self._pause)


def _is_follower(record: Record) -> bool:
    """Return whether `record` is not that of a request: hpoq keeps it to follow or to stop an experiment."""
    try:
        event = json.loads(record.event or "null")
    except ValueError:
        event = None
    # Users of the same store may keep something else than an event.
    is_stop = isinstance(event, dict) and outcome_of(event) == "stopping"
    return is_stop or record.fingerprint in _FOLLOWING


def _denies_experiment(record: Record) -> bool:
    """Return whether `record` says that no create of its key has had, or may still have, an effect."""
    if record.state is State.IN_PROGRESS:
        return record.doubt_until is None and record.experiment_id is None
    return record.state in (State.REJECTED, State.FAILED)


def _parse_since(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> timedelta | datetime | None:
    """Return the number of days or the date, which is in UTC unless it says otherwise."""
    if value is None:
        return None
    try:
        if value.isdecimal():
            return timedelta(days=int(value))
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        problem = f"{value!r} is neither a number of days nor a date like 2026-11-01."
        raise click.BadParameter(problem) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@click.command(name="audit")
@click.option(
    "--since",
    callback=_parse_since,
    metavar="DAYS|DATE",
    help="How far back: a number of days, or a date such as 2026-11-01 (UTC). Default: HPOQ_RETENTION_DAYS.",
)
@click.option(
    "--workspace", metavar="ID", help="Only experiments of this workspace. Default: all that are visible."
)
@click.option(
    "--rate",
    type=Number(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="N",
    help="At most N calls per second.",
)
@store_option
@click.option("--endpoint", metavar="URL", help="Use the records and experiments of a running `hpoq local`.")
@json_option
@usage_errors()
def command(
    since: timedelta | datetime | None,
    workspace: str | None,
    rate: float,
    url: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Compare the experiments of the account with the records, and report every difference.

    The command lists experiments by the marker that hpoq gives each of them, and reads every record. It reports keys
    with two experiments, records whose experiment does not exist, and experiments whose key has no record or ended as
    rejected or failed. It also lists followed experiments that are no longer checked; they are not findings. It only
    reads: ListHpoExperiments, GetHpoExperiment and, in Tablestore, GetRange, which the function does not need.

    Exit code 1 means that there is a finding.
    """
    settings, out = read_settings(), notes()
    service_at = experiments_endpoint(settings, endpoint)
    store_at = store_url(settings, url, endpoint)
    try:
        client = open_experiments(service_at)
        now = read_clock(store_at)
        begin = _find_begin(since, now, settings)
        with (
            closing(find_store(store_at)) as store,
            Progress(console=out, transient=True, disable=not out.is_terminal) as progress,
        ):
            progress.add_task("Comparing", total=None)
            audit = Auditor(
                store,
                client,
                SystemClock(),
                since=begin,
                until=now,
                retention=settings.retention_days * _DAY,
                workspace_id=workspace,
                pause=1 / rate,
                place=identify_place(service_at),
                namespace=settings.namespace,
            ).run()
    except (CallError, StoreError) as exc:
        raise click.ClickException(_explain_failure(exc, store_at, service_at)) from exc
    if as_json:
        print_json(audit.as_json())
    else:
        _print_audit(audit)
    raise SystemExit(1 if audit.findings else 0)


def _explain_failure(exc: CallError | StoreError, store_at: str, service_at: str) -> str:
    if isinstance(exc, StoreError):
        return explain_store_failure(exc, store_at)
    text = explain_unreachable(exc, service_at)
    # An answer that is unreadable or too large is Incomplete as well.
    is_changing = isinstance(exc, Incomplete) and "the listing" in exc.message
    return f"{text}{_INCOMPLETE if is_changing else ''}"


def _find_begin(since: timedelta | datetime | None, now: float, settings: Settings) -> float:
    """Return when the audit begins, in seconds since the epoch. Raises click.UsageError if that is in the future."""
    if isinstance(since, datetime):
        begin = since.timestamp()
        if begin > now:  # nothing would be compared, and nothing found
            raise click.BadParameter(f"{since.isoformat()} is in the future.", param_hint="'--since'")
    else:
        age = timedelta(days=settings.retention_days) if since is None else since
        begin = now - age.total_seconds()
    # No experiment is older than the epoch, and no date before year 1 can be written.
    return max(begin, 0.0)


def _print_audit(audit: Audit) -> None:
    out = console()
    for finding in audit.findings:
        ids = ", ".join(finding.experiments) or "none"
        recorded = f"; recorded: {finding.recorded}" if finding.recorded else ""
        out.print(Text(f"{finding.kind}  {finding.key}  experiments: {ids}{recorded}", "red"))
        out.print(Text(f"  {_ADVICE[finding.kind]}"))
    for key in audit.overdue:
        out.print(Text(f"no longer checked  {key}", "yellow"))
        out.print(Text(f"  Its experiment is followed. Find out what holds it up: hpoq status --key {key}"))
    since = datetime.fromtimestamp(audit.since, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    compared = count_of(audit.experiments, "experiment")
    compared += f" ({audit.unmarked} not created by hpoq)" if audit.unmarked else ""
    compared += f" and {count_of(audit.records - audit.others, 'record')} of requests"
    others = f" (besides {count_of(audit.others, 'record')} to follow and stop them)" if audit.others else ""
    if audit.elsewhere:
        others += f", {count_of(audit.elsewhere, 'experiment')} of another endpoint not compared"
    out.print(f"Since {since}: {compared} compared{others}, {count_of(len(audit.findings), 'finding')}")
