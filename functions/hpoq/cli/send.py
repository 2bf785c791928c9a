"""`hpoq send`: request messages into the queue, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import click
from rich.progress import Progress
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cli.cloud import QUEUE
from hpoq.cli.files import Document, read_documents
from hpoq.cli.follow import Awaited, Inbox, follow, open_inbox
from hpoq.cli.output import console, notes, print_json, with_progress
from hpoq.cli.rows import lines_of
from hpoq.cli.target import Target, find_target
from hpoq.clock import SystemClock
from hpoq.cloud.smq import SentRequest
from hpoq.contract.keys import message_key
from hpoq.contract.request import parse_request
from hpoq.errors import CallError, RequestRejected, SettingsError
from hpoq.settings import Settings


@dataclass
class _Run:
    """What was sent of `documents`, and what came of it."""

    documents: Sequence[Document]
    sent: list[SentRequest] = field(default_factory=list)
    awaited: Awaited | None = None
    error: CallError | None = None

    def ok(self) -> bool:
        if self.error is not None or self.awaited is None:
            return self.error is None
        return not self.awaited.missing and all(
            str(event.get("type")).startswith("com.hpoq.experiment.created.")
            for event in self.awaited.events.values()
        )

    def rows(self) -> Iterator[tuple[Document, SentRequest, JsonObject | None]]:
        """Each message with its document and its event, if that came."""
        for index, (document, request) in enumerate(zip(self.documents, self.sent)):  # noqa: B905
            yield document, request, self.awaited.events.get(index) if self.awaited else None


@click.command(name="send")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--queue", help=f"The queue; by default HPOQ_QUEUE or {QUEUE}.")
@click.option("--endpoint", metavar="URL", help="SMQ's base URL; by default from the HPOQ_ settings.")
@click.option("--wait", is_flag=True, help="Follow the output topic until every message has its event.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    paths: Sequence[str], queue: str | None, endpoint: str | None, wait: bool, timeout: float, as_json: bool
) -> None:
    """Enqueue requests, and report each one's message id and idempotency key.

    A FILE holds one request in JSON or YAML, or one a line in a .jsonl file; folders and - for standard input
    will do too. Requests go out as they are: what the contract says of one comes back as an event (see `hpoq
    check`). A repeated `hpoq send` creates nothing twice only for requests that bring their idempotencyKey.

    --wait makes a queue of its own, subscribes it to the topic of HPOQ_OUTPUT, and removes both in the end, which
    Ctrl-C brings on; exit code 1 then also means that a message was rejected, failed, or has no event yet. A
    request whose idempotencyKey was processed before gets no event again.
    """
    run = _Run(list(read_documents(paths, yaml=True)))
    for document in run.documents:
        if document.problem:
            raise click.BadParameter(f"{document.place}: {document.problem[0].message}", param_hint="FILE")
    try:
        target = find_target(Settings.from_environment(os.environ), queue, endpoint)
        with _inbox(target) if wait else contextlib.nullcontext() as inbox:
            _send(target, run)
            if inbox is not None:
                _wait(inbox, run, timeout)
    except SettingsError as exc:
        raise click.UsageError("\n".join(exc.problems)) from exc
    except CallError as exc:
        run.error = exc
    if as_json:
        print_json(_document(run))
    else:
        _show(run)
    raise SystemExit(0 if run.ok() else 1)


def _inbox(target: Target) -> contextlib.AbstractContextManager[Inbox]:
    """Raises SettingsError where it is not known which topic to follow."""
    if target.topic is None:
        raise SettingsError(["--wait follows a topic; HPOQ_OUTPUT names none"])
    if not target.account_id or not target.region:
        raise SettingsError(["--wait needs HPOQ_ACCOUNT_ID and HPOQ_REGION"])
    # As Ctrl-C does, so that no queue and no subscription stay behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return open_inbox(target.smq, target.topic, target.account_id, target.region)


def _send(target: Target, run: _Run) -> None:
    for document in with_progress(run.documents, "Sending"):
        own = _own_key(document)
        message = target.smq.send_message(target.queue, document.data, repeatable=own is not None)
        run.sent.append(SentRequest(message.message_id, message_key(own, message.message_id)))


def _own_key(document: Document) -> str | None:
    """The request's idempotencyKey; one that will be rejected has none, for it keeps the key of its message."""
    try:
        return parse_request(document.data).request.idempotency_key
    except RequestRejected:
        return None


def _wait(inbox: Inbox, run: _Run, timeout: float) -> None:
    run.awaited = Awaited(run.sent)
    out = notes()
    with (
        contextlib.suppress(KeyboardInterrupt),  # who tires of waiting is still told what was sent
        Progress(console=out, transient=True, disable=not out.is_terminal) as progress,
    ):
        task = progress.add_task("Waiting for events", total=len(run.sent))
        follow(
            inbox,
            run.awaited,
            SystemClock(),
            timeout,
            lambda count: progress.update(task, completed=count),
        )


def _document(run: _Run) -> dict[str, JsonValue]:
    sent: list[JsonValue] = [
        {"path": document.place, "messageId": request.message_id, "key": request.key}
        for document, request, _ in run.rows()
    ]
    document: dict[str, JsonValue] = {"sent": sent}
    if run.awaited is not None:
        distinct = {str(event.get("id")): event for event in run.awaited.events.values()}
        document["events"] = list(distinct.values())
        document["missing"] = [request.message_id for request in run.awaited.missing]
    if run.error:
        document["error"] = str(run.error)
    return document


def _show(run: _Run) -> None:
    for document, request, event in run.rows():
        console().print(Text(f"{request.message_id}  {request.key}  {document.place}"))
        if event is not None:
            for line in lines_of(_row(request, event)):
                console().print(line)
        elif run.awaited is not None:
            console().print(
                Text("  no event   not processed yet, or done before: a duplicate has none", "magenta")
            )
    if run.error:
        notes().print(f"{len(run.sent)} of {len(run.documents)} sent; then: {run.error}", style="red")


def _row(request: SentRequest, event: JsonObject) -> JsonObject:
    """The event in the form of a report's row."""
    data = event.get("data")
    told = data if isinstance(data, dict) else {}
    return {
        "messageId": request.message_id,
        "key": request.key,
        "outcome": str(event.get("type")).split(".")[-2],
        "experimentId": told.get("experimentId"),
        "error": told.get("error"),
    }
