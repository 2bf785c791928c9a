"""`hpoq dead`: list, show, redrive or drop the messages in the dead-letter queue."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn, TextIO, TypeVar

import click
from rich.progress import Progress
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.clock import SystemClock
from hpoq.errors import CallError, StoreError
from hpoq.idempotency.store import Store
from hpoq.processing.envelope import seal
from hpoq.settings import Settings
from hpoqctl.files import PathName
from hpoqctl.numbers import Number, WholeNumber
from hpoqctl.output import console, count_of, json_option, notes, print_json
from hpoqctl.pipeline import DEAD_LETTER_QUEUE
from hpoqctl.positions import mask_secrets
from hpoqctl.queueclient import QueueClient
from hpoqctl.recordview import NO_RECORD
from hpoqctl.redrive import DeadLetter, Plan, Redriver, Report
from hpoqctl.services import (
    Target,
    check_keys,
    check_queue,
    explain_failure,
    explain_store_failure,
    find_store,
    find_target,
    name_dead_letter_queue,
    queue_option,
    read_clock,
    read_settings,
    smq_endpoint_option,
    store_url,
    usage_errors,
)
from hpoqctl.watchview import Watching, find_watching

_Command = TypeVar("_Command", bound=Callable[..., None])

_from = click.option(
    "--from",
    "source",
    metavar="QUEUE",
    callback=check_queue,
    help=f"The dead-letter queue to read. Default: HPOQ_DEAD_LETTER_QUEUE, or {DEAD_LETTER_QUEUE}.",
)
_match = click.option(
    "--match",
    metavar="PATTERN",
    help="Only dead letters whose own id, or whose message's id, key, idempotencyKey or name matches (*, ?, [...]).",
)
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done. Change nothing.")
_rate = click.option(
    "--rate", type=Number(min=0, min_open=True), metavar="N", help="At most N dead letters per second."
)


def _limit(verb: str) -> Callable[[_Command], _Command]:
    return click.option("--limit", type=WholeNumber(1), metavar="N", help=f"{verb} at most N dead letters.")


@dataclass(frozen=True)
class _Place:
    """The dead-letter queue, and the queue that its messages came from."""

    settings: Settings
    target: Target
    source: str

    def plan(
        self,
        match: str | None,
        limit: int | None = None,
        rate: float | None = None,
        *,
        is_dry_run: bool = False,
        is_deletion: bool = False,
        as_new: bool = False,
    ) -> Plan:
        return Plan(
            self.source,
            self.target.queue,
            self.settings.namespace,
            self.settings.trigger,
            match,
            limit,
            1 / rate if rate else 0.0,
            is_dry_run=is_dry_run,
            is_deletion=is_deletion,
            as_new=as_new,
        )


@usage_errors()
def _find_place(source: str | None, queue: str | None, endpoint: str | None) -> _Place:
    settings = read_settings()
    target = find_target(settings, queue, endpoint)
    return _Place(settings, target, source or name_dead_letter_queue(settings))


def _run(
    smq: QueueClient, plan: Plan, label: str, on_dead_letter: Callable[[DeadLetter], object] = lambda _: None
) -> Report:
    out = notes()
    try:
        with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
            task = progress.add_task(label, total=None)
            report = Redriver(
                smq,
                SystemClock(),
                plan,
                on_dead_letter=on_dead_letter,
                count_progress=lambda: progress.advance(task),
            ).run()
    except KeyboardInterrupt:
        out.print("Interrupted. Dead letters that were read are visible again within 5 minutes.")
        raise
    if report.is_interrupted:
        out.print("Interrupted. The dead letters that are left are visible again.")
    return report


def _read(place: _Place, pattern: str | None, limit: int | None) -> tuple[list[DeadLetter], Report]:
    # A deletion, because it covers dead letters that cannot be moved.
    plan = place.plan(pattern, limit, is_dry_run=True, is_deletion=True)
    dead_letters: list[DeadLetter] = []
    return dead_letters, _run(place.target.smq, plan, "Reading", dead_letters.append)


def _exit(report: Report, *, is_success: bool) -> NoReturn:
    raise SystemExit(130 if report.is_interrupted else 0 if is_success else 1)


@click.group(name="dead")
def command() -> None:
    """Work on the messages in the dead-letter queue.

    HPOQ_NAMESPACE and HPOQ_TRIGGER, which decide the keys of the messages, must be set as they are for the function.

    To read dead letters, every command receives them, which raises their receive count. Those that stay in the queue
    are visible again when the command ends. Dead letters that another receiver holds are invisible. Every command
    reports how many there are, and all except `show` exit with 1 then.
    """


@command.command(name="list", short_help="List dead letters, and which cannot be moved.")
@_from
@smq_endpoint_option
@_match
@_limit("List")
@json_option
def list_dead_letters(
    source: str | None, endpoint: str | None, match: str | None, limit: int | None, as_json: bool
) -> None:
    """List dead letters: when they arrived, their ids, keys and names, and which cannot be moved.

    An empty list is not an error, even with --match.

    Exit code 1 means that a call failed, or that another receiver holds dead letters.
    """
    place = _find_place(source, None, endpoint)
    dead_letters, report = _read(place, match, limit)
    if as_json:
        rows: list[JsonValue] = [
            _compose_row(dead_letter, row) for dead_letter in dead_letters for row in dead_letter.rows
        ]
        print_json({"deadLetters": rows, "invisible": report.invisible} | _compose_error(report, place))
    else:
        for dead_letter in dead_letters:
            for row in dead_letter.rows:
                console().print(_format_row(dead_letter, row))
        _print_remarks(report, place, match, count_of(len(dead_letters), "dead letter"))
    _exit(report, is_success=report.is_success)


@command.command(name="show", short_help="Show the content of dead letters, without secrets.")
@click.argument("pattern", metavar="PATTERN")
@_from
@smq_endpoint_option
@_limit("Show")
@json_option
def show(pattern: str, source: str | None, endpoint: str | None, limit: int | None, as_json: bool) -> None:
    """Show the content of dead letters, also of those that cannot be moved. Secrets in it are masked.

    PATTERN is the id of a dead letter, or the id, key, idempotencyKey or name of its message (*, ?, [...]).

    Exit code 1 means that no dead letter matches, or that a call failed.
    """
    place = _find_place(source, None, endpoint)
    dead_letters, report = _read(place, pattern, limit)
    if as_json:
        rows: list[JsonValue] = [
            {**_compose_row(dead_letter, row), "body": body}
            for dead_letter in dead_letters
            for row, body in _mask_messages(dead_letter)
        ]
        print_json({"deadLetters": rows, "invisible": report.invisible} | _compose_error(report, place))
    else:
        for dead_letter in dead_letters:
            for row, body in _mask_messages(dead_letter):
                console().print(_format_row(dead_letter, row))
                console().print(Text(body))
        _print_remarks(report, place, pattern)
    _exit(report, is_success=bool(dead_letters) and report.error is None)


@command.command(name="redrive")
@_from
@queue_option
@smq_endpoint_option
@_dry_run
@_match
@_limit("Move")
@_rate
@click.option(
    "--as-new",
    is_flag=True,
    help="Also send the body of a dead letter whose key is not known, as a new message. Needs --match. If the "
    "message was processed before, this creates a second experiment.",
)
@click.option(
    "--watch",
    "followed",
    multiple=True,
    metavar="KEY",
    help="Move nothing. Send the lost watch message of the experiment of KEY again.",
)
@json_option
def redrive(
    source: str | None,
    queue: str | None,
    endpoint: str | None,
    dry_run: bool,
    match: str | None,
    limit: int | None,
    rate: float | None,
    as_new: bool,
    followed: tuple[str, ...],
    as_json: bool,
) -> None:
    """Move messages from the dead-letter queue back to their queue.

    Each message keeps its key. One that was processed after all, or that is moved twice because the command was
    interrupted, is a duplicate and creates no second experiment. A message that was given up gets another attempt.
    HPOQ_NAMESPACE and HPOQ_TRIGGER, which decide the keys, must be set as they are for the function.

    A dead letter stays where it is if it cannot be read, if the key of its message is not known, if its message is
    too large to be sent again, or if it was moved and the function gave its message up again while the command runs.
    Such dead letters become visible again at the end, with a higher receive count. Dead letters that another receiver
    holds are invisible to this command; it reports how many there are.

    With --watch the command moves no dead letters. It composes the lost watch message of a followed
    experiment again from the records (HPOQ_STORE), so that the experiment is checked until it ends. If the message
    was not lost, no harm is done: the experiment gets one result.

    Exit code 1 means that no dead letter matches, that one had to stay or was invisible, that the experiment of a KEY
    is not followed, or that a call failed.
    """
    if followed:
        if any(option is not None for option in (source, match, limit, rate)) or as_new:
            raise click.UsageError("--watch goes with --queue, --endpoint, --dry-run and --json only.")
        _watch_again(followed, queue, endpoint, is_dry_run=dry_run, as_json=as_json)
    if as_new and match is None:
        raise click.UsageError("--as-new needs --match, with the id of the dead letter from hpoq dead list.")
    place = _find_place(source, queue, endpoint)
    if place.source == place.target.queue:
        problem = f"{place.source} is the same queue for --from and --queue. Give the dead-letter queue with --from."
        raise click.UsageError(problem)
    plan = place.plan(match, limit, rate, is_dry_run=dry_run, as_new=as_new)
    report = _run(place.target.smq, plan, "Redriving")
    if as_json:
        print_json(report.as_json() | _compose_error(report, place))
    else:
        _print_report(report, place, "would move" if dry_run else "moved", match)
    _exit(report, is_success=report.is_success and _has_match(report, match))


@usage_errors()
def _watch_again(
    keys: tuple[str, ...], queue: str | None, endpoint: str | None, *, is_dry_run: bool, as_json: bool
) -> NoReturn:
    """Send the watch messages of the experiments of `keys` again, and end the command."""
    check_keys(keys, "hpoq status")
    settings = read_settings()
    target, store_at = find_target(settings, queue, endpoint), store_url(settings, None, endpoint)
    rows, error = list[JsonObject](), None
    try:
        with contextlib.closing(find_store(store_at)) as store:
            now = read_clock(store_at)
            for key in dict.fromkeys(keys):
                watching = _find_followed(store, key, now, settings.namespace)
                if isinstance(watching, str):
                    rows.append({"key": key, "experimentId": None, "reason": watching})
                    continue
                if not is_dry_run:
                    target.smq.send_message(target.queue, seal(watching.make_message()))
                rows.append({"key": key, "experimentId": watching.order.experiment_id, "reason": None})
    except StoreError as exc:
        error = explain_store_failure(exc, store_at)
    except CallError as exc:
        error = explain_failure(exc, target)
    if as_json:
        print_json({"dryRun": is_dry_run, "watched": [*rows], "error": error})
        raise SystemExit(1 if error or any(row["reason"] for row in rows) else 0)
    for row in rows:
        sent = f"{'would send' if is_dry_run else 'sent'} the watch message of {row['experimentId']}"
        console().print(Text(f"{row['key']}  {row['reason'] or sent}"))
    if error is not None:
        raise click.ClickException(error)
    raise SystemExit(1 if any(row["reason"] for row in rows) else 0)


def _find_followed(store: Store, key: str, now: float, namespace: str) -> Watching | str:
    """Return how the experiment of `key` is followed, or why it is not. Raises StoreError."""
    record = store.get(key)
    if record is None:
        return NO_RECORD
    watching = find_watching(store.get, record, now, namespace)
    if watching is None:
        return "it has no experiment that is followed. See hpoq status."
    if watching.is_over:
        return "the result of its experiment was published. See hpoq status."
    return watching


@command.command(name="drop")
@_from
@smq_endpoint_option
@_dry_run
@_match
@click.option("--all", "drops_all", is_flag=True, help="Drop every dead letter.")
@_limit("Drop")
@_rate
@click.option(
    "--to",
    "path",
    type=PathName(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to append the dropped messages to, as JSON Lines. Default: a new file in the current folder. "
    "Without a message to drop, no file is created.",
)
@json_option
def drop(
    source: str | None,
    endpoint: str | None,
    dry_run: bool,
    match: str | None,
    drops_all: bool,
    limit: int | None,
    rate: float | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Delete dead letters, after writing their content to a file.

    Give --match or --all. The file holds one JSON object per dead letter, with its body as it was in the queue, in
    base64. Only the owner of the file can read it, because requests may contain credentials.

    Exit code 1 means that no dead letter matches, that one could not be deleted or was invisible, or that a call
    failed.
    """
    if drops_all == (match is not None):
        raise click.UsageError("Give either --match PATTERN or --all.")
    place = _find_place(source, None, endpoint)
    plan = place.plan(match, limit, rate, is_dry_run=dry_run, is_deletion=True)
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    target = path or Path(f"{place.source}-{now}.jsonl")
    with contextlib.closing(_Archive(target)) as archive:
        report = _run(place.target.smq, plan, "Dropping", (lambda _: None) if dry_run else archive.save)
    shown = str(target) if archive.file else None
    if as_json:
        document = report.as_json() | _compose_error(report, place)
        print_json(
            {"dropped" if name == "moved" else name: value for name, value in document.items()}
            | {"file": shown}
        )
    else:
        _print_report(report, place, "would drop" if dry_run else "dropped", match)
        if shown:
            console().print(Text(f"Their content is in {shown}."))
    _exit(report, is_success=report.is_success and _has_match(report, match))


class _Archive:
    """The file that dropped dead letters are appended to. The first one creates it."""

    def __init__(self, path: Path) -> None:
        self.file: TextIO | None = None
        self._path = path

    def save(self, dead_letter: DeadLetter) -> None:
        """Append a dead letter, durably, before this returns."""
        if self.file is None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if self._path.is_file():  # also one that others could read before
                os.fchmod(descriptor, 0o600)
            self.file = os.fdopen(descriptor, "w", encoding="ascii")
        rows: list[JsonValue] = [*dead_letter.rows]
        content: JsonObject = {
            "letterId": dead_letter.rows[0]["letterId"],
            "enqueuedAt": dead_letter.enqueued_at,
            "messages": rows,
            "body": base64.b64encode(dead_letter.body).decode(),
        }
        self.file.write(json.dumps(content) + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def _mask_messages(dead_letter: DeadLetter) -> Iterator[tuple[Mapping[str, JsonValue], str]]:
    """Yield each message's row and its body as text, without secrets; that of the dead letter if no key is known."""
    for row, body in zip(dead_letter.rows, dead_letter.bodies or [dead_letter.body], strict=True):
        yield row, mask_secrets(body.decode(errors="replace"))


def _compose_row(dead_letter: DeadLetter, row: Mapping[str, JsonValue]) -> JsonObject:
    return {**row, "enqueuedAt": dead_letter.enqueued_at}


def _compose_error(report: Report, place: _Place) -> JsonObject:
    return {"error": _explain_error(report.error, place)} if report.error else {}


def _explain_error(error: CallError, place: _Place) -> str:
    if error.operation == "SendMessage":
        return explain_failure(error, place.target)
    return explain_failure(error, replace(place.target, queue=place.source), "--from")


def _format_row(dead_letter: DeadLetter, row: Mapping[str, JsonValue]) -> Text:
    at = dead_letter.enqueued_at
    arrived = (
        datetime.fromtimestamp((at or 0) / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S") if at else "-"
    )
    key, name = row["key"] or "(key not known)", row["name"] or ""
    line = Text(f"{arrived}  {row['letterId']}  {key}  {name}".rstrip())
    return line.append(f"  cannot be moved: {row['reason']}", "yellow") if row["reason"] else line


def _print_report(report: Report, place: _Place, verb: str, pattern: str | None) -> None:
    out = console()
    for row in report.moved:
        message, key = row["messageId"] or row["letterId"], row["key"] or "(key not known)"
        out.print(Text(f"{verb}  {message}  {key}  {row['name'] or ''}"))
    for row in report.left:
        if row["reason"]:
            out.print(Text(f"left  dead letter {row['letterId']}: {row['reason']}", "yellow"))
    for dead_letter_id in sorted(report.may_come_again):
        text = (
            f"dead letter {dead_letter_id} was sent, but not deleted: it may be moved again, as a duplicate"
        )
        if verb == "dropped":
            text = f"dead letter {dead_letter_id} was not deleted: run the command again"
        out.print(Text(text, "yellow"))
    _print_remarks(report, place, pattern, f"{len(report.moved)} {verb}, {len(report.left)} left")


def _has_match(report: Report, pattern: str | None) -> bool:
    return pattern is None or report.has_match


def _print_remarks(report: Report, place: _Place, pattern: str | None, total: str = "") -> None:
    if not _has_match(report, pattern) and report.error is None:
        console().print(Text(f"No dead letter matches {pattern}.", "yellow"))
    if report.invisible:
        text = f"invisible: {report.invisible} (another receiver holds them; run the command again later)"
        console().print(Text(text, "yellow"))
    if total and not (report.error and total.startswith("0 ")):
        console().print(total)
    if report.error:
        notes().print(_explain_error(report.error, place), style="red", markup=False)
