"""`hpoq redrive`: messages from the dead-letter queue back to their queue, under the keys that they had."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import click
from rich.progress import Progress
from rich.text import Text

from fcruntime.jsonvalue import JsonValue
from hpoq.cli.cloud import DEAD_LETTER_QUEUE, QUEUE
from hpoq.cli.output import console, notes, print_json
from hpoq.cli.target import Target, find_target
from hpoq.clock import Clock, SystemClock
from hpoq.cloud.smq import fits
from hpoq.cloud.smq_messages import ReceivedMessage
from hpoq.contract.keys import PRODUCER, derive_key
from hpoq.contract.request import parse_request
from hpoq.errors import CallError, RequestRejected, SettingsError
from hpoq.processing.deadletter import revive
from hpoq.processing.envelope import Envelope, seal
from hpoq.settings import Settings

_BACK_AT_ONCE_SECONDS = 1


@dataclass(frozen=True)
class _Letter:
    """A dead letter: the messages it is about, each by id, key and name, or the reason why it stays."""

    received: ReceivedMessage
    envelopes: Sequence[Envelope]
    rows: Sequence[dict[str, JsonValue]]
    reason: str | None = None


@dataclass
class _Run:
    dry: bool
    moved: list[dict[str, JsonValue]] = field(default_factory=list)
    left: list[dict[str, JsonValue]] = field(default_factory=list)
    error: CallError | None = None


@click.command(name="redrive")
@click.option("--from", "source", default=DEAD_LETTER_QUEUE, show_default=True, help="The dead-letter queue.")
@click.option("--queue", help=f"Where messages go; by default HPOQ_QUEUE or {QUEUE}.")
@click.option("--endpoint", metavar="URL", help="SMQ's base URL; by default from the HPOQ_ settings.")
@click.option("--dry-run", is_flag=True, help="Show what would be moved, and move nothing.")
@click.option("--match", metavar="PATTERN", help="Only messages whose id, key or name matches (*, ?, [...]).")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Move at most N letters.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N letters a second."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    source: str,
    queue: str | None,
    endpoint: str | None,
    dry_run: bool,
    match: str | None,
    limit: int | None,
    rate: float | None,
    as_json: bool,
) -> None:
    """Move messages from the dead-letter queue back to their queue.

    Each keeps its key, so one that was created after all, or that is moved twice because the command was broken
    off, is a duplicate and creates nothing. A letter that does not tell which key its message had stays where it
    is. Those that are not moved are visible again at once; looking at one counts as a receive of it.

    Exit code 1 means that a letter had to stay, or that a call failed.
    """
    try:
        target = find_target(Settings.from_environment(os.environ), queue, endpoint)
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc
    run = _Run(dry_run)
    try:
        _redrive(target, source, run, match=match, limit=limit, pause=1 / rate if rate else 0.0)
    except CallError as exc:
        run.error = exc
    _tell(run, as_json=as_json)
    raise SystemExit(1 if run.error or any(row["reason"] for row in run.left) else 0)


def _redrive(
    target: Target, source: str, run: _Run, *, match: str | None, limit: int | None, pause: float
) -> None:
    clock: Clock = SystemClock()
    waiting = target.smq.get_queue_attributes(source).active_messages
    out = notes()
    kept: list[_Letter] = []
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Redriving", total=waiting)
        try:
            for letter in _letters(target, source):
                progress.advance(task)
                if letter.reason or not _matches(letter, match):
                    run.left += [{**row, "reason": letter.reason} for row in letter.rows]
                    kept.append(letter)
                    continue
                if run.dry:
                    kept.append(letter)
                else:
                    _move(target, source, letter)
                    clock.sleep(pause)
                run.moved += letter.rows
                if limit is not None and len(run.moved) >= limit:
                    return
        finally:
            _give_back(target, source, kept)


def _letters(target: Target, source: str) -> Iterator[_Letter]:
    """Each letter once, until the queue has none that was not seen.

    In a long run those that stay come to light again, among others that were not seen yet.
    """
    seen: set[str] = set()
    again = 0
    while again <= len(seen):
        received = target.smq.receive_messages(source)
        if not received:
            return
        fresh = [message for message in received if message.message_id not in seen]
        again = 0 if fresh else again + len(received)
        seen |= {message.message_id for message in fresh}
        yield from map(_read, fresh)


def _read(message: ReceivedMessage) -> _Letter:
    body = _decoded(message.body)
    envelopes = revive(body, message.origin_id)
    if not envelopes:
        reason = "it does not tell which key its message had"
        return _Letter(
            message, (), [{"messageId": None, "key": None, "letterId": message.message_id}], reason
        )
    rows = [_row(envelope, message.message_id) for envelope in envelopes]
    too_large = not all(fits(seal(envelope)) for envelope in envelopes)
    return _Letter(message, envelopes, rows, "it is too large in its envelope" if too_large else None)


def _row(envelope: Envelope, letter_id: str) -> dict[str, JsonValue]:
    key, name = envelope.key, None
    try:
        request = parse_request(envelope.body).request
        name = request.experiment.name
        if request.idempotency_key is not None:
            key = derive_key(PRODUCER, request.idempotency_key)
    except RequestRejected as exc:
        name = exc.name
    return {"messageId": envelope.message_id, "key": key, "name": name, "letterId": letter_id}


def _matches(letter: _Letter, pattern: str | None) -> bool:
    texts = (str(row.get(name) or "") for row in letter.rows for name in ("messageId", "key", "name"))
    return pattern is None or any(fnmatch.fnmatchcase(text, pattern) for text in texts)


def _move(target: Target, source: str, letter: _Letter) -> None:
    """Send, then delete: broken off between the two, the letter is moved again, under the same key."""
    for envelope in letter.envelopes:
        target.smq.send_message(target.queue, seal(envelope))
    if letter.received.receipt_handle is not None:
        target.smq.delete_message(source, letter.received.receipt_handle)


def _give_back(target: Target, source: str, letters: Sequence[_Letter]) -> None:
    for letter in letters:
        if letter.received.receipt_handle is not None:
            with contextlib.suppress(CallError):
                target.smq.change_visibility(source, letter.received.receipt_handle, _BACK_AT_ONCE_SECONDS)


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return body.encode()


def _tell(run: _Run, *, as_json: bool) -> None:
    if as_json:
        document: dict[str, JsonValue] = {"dryRun": run.dry, "moved": list(run.moved), "left": list(run.left)}
        if run.error:
            document["error"] = str(run.error)
        print_json(document)
        return
    verb = "would move" if run.dry else "moved"
    for row in run.moved:
        console().print(
            Text(f"{verb}  {row['messageId'] or '(no message id)'}  {row['key']}  {row['name'] or ''}")
        )
    for row in run.left:
        if row["reason"]:
            console().print(Text(f"left  letter {row['letterId']}: {row['reason']}", "yellow"))
    console().print(f"{len(run.moved)} {verb}, {len(run.left)} left")
    if run.error:
        notes().print(str(run.error), style="red")
