"""`hpoq stop`: send the messages that stop experiments."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from hpoq.contract.events import outcome_of
from hpoq.contract.identity import derive_message_key
from hpoq.contract.request import parse_request, read_producer_key
from hpoq.contract.stop import StopRequest
from hpoq.errors import CallError, RequestRejected
from hpoq.producer import SentRequest
from hpoqctl.checking import check_document, refuse_invalid
from hpoqctl.files import read_requests
from hpoqctl.inbox import Answers, Sending, convert_event, open_inbox_at
from hpoqctl.numbers import Number
from hpoqctl.output import console, format_outcome, json_option, notes, print_json
from hpoqctl.services import (
    Target,
    explain_failure,
    find_target,
    queue_option,
    read_settings,
    smq_endpoint_option,
    usage_errors,
)

_FILES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml")


@dataclass(kw_only=True)
class _Run(Sending):
    """The experiments to stop, each named as in a stop message, and what was sent for them."""

    stops: Sequence[JsonObject]

    def is_success(self) -> bool:
        """Return whether every stop was sent and, with --wait, accepted."""
        if self.error is not None or self.answers is None:
            return self.error is None
        events = self.answers.events.values()
        return not self.answers.missing and all(outcome_of(event) == "stopping" for event in events)


@click.command(name="stop")
@click.argument("targets", nargs=-1, metavar="[KEY|FILE]...")
@click.option("--experiment", "experiment_ids", multiple=True, metavar="ID", help="The id of an experiment.")
@queue_option
@smq_endpoint_option
@click.option("--wait", is_flag=True, help="Wait until every stop is answered by an event.")
@click.option(
    "--timeout",
    type=Number(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest time that --wait waits.",
)
@json_option
@usage_errors()
def command(
    targets: Sequence[str],
    experiment_ids: Sequence[str],
    queue: str | None,
    endpoint: str | None,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Stop experiments, by the key of their request or by their id.

    KEY is the idempotencyKey of a request, or the key in its events. FILE contains the requests themselves, each with
    an idempotencyKey.

    The command puts a stop message into the queue. The function stops the experiment and answers with a stopping
    event. If the function follows experiments, a finished event comes at the end. Stopping an experiment twice is
    harmless.

    Exit code 1 means that a message could not be sent. With --wait it also means that a stop was rejected, that it
    failed, or that its event did not arrive in time.
    """
    settings = read_settings()
    run = _Run(stops=list(_find_targets(targets, experiment_ids)))
    if not run.stops:
        raise click.UsageError("No experiment is given. Give a KEY, a FILE or --experiment ID.")
    bodies = [_compose_message(stop) for stop in run.stops]
    try:
        target = find_target(settings, queue, endpoint)
        with open_inbox_at(target) if wait else contextlib.nullcontext() as inbox:
            _send_messages(target, run, bodies, settings.namespace)
            if inbox is not None:
                run.wait(inbox, Answers(run.sent), timeout)
    except CallError as exc:
        run.error = explain_failure(exc, target)
    if as_json:
        # A failed call leaves fewer messages than stops.
        sent = zip(run.stops, run.sent)  # noqa: B905
        print_json(
            run.as_json({"messageId": one.message_id, "key": one.key, "stop": stop} for stop, one in sent)
        )
    else:
        _print_result(run)
    raise SystemExit(130 if run.is_interrupted else 0 if run.is_success() else 1)


def _find_targets(targets: Sequence[str], experiment_ids: Sequence[str]) -> Iterator[JsonObject]:
    for target in targets:
        # The name of a folder counts as a key: nobody means to stop all requests in a folder of that name.
        if target != "-" and not Path(target).is_file():
            if Path(target).is_dir() and target.endswith((".", "/")):
                raise click.BadParameter(f"{target} is a folder. Give the files in it.", param_hint="FILE")
            if target.endswith(_FILES):
                raise click.BadParameter(f"{target} does not exist", param_hint="FILE")
            yield {"idempotencyKey": target}
            continue
        for document in read_requests([target]):
            if document.problem:
                message = f"{document.place}: {document.problem[0].message}"
                raise click.BadParameter(message, param_hint="FILE")
            key = read_producer_key(document.data)
            if key is None:
                if isinstance(refuse_invalid(check_document(document)).request, StopRequest):
                    raise click.UsageError(
                        f"{document.place} is a stop message already. Send it with hpoq send {document.path}."
                    )
                raise click.UsageError(
                    f"{document.place} has no idempotencyKey. Give the key in its events, or --experiment ID."
                )
            yield {"idempotencyKey": key}
    for experiment_id in experiment_ids:
        yield {"experimentId": experiment_id}


def _compose_message(stop: JsonObject) -> bytes:
    body = json.dumps({"stop": stop}, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    try:
        parse_request(body)
    except RequestRejected as exc:
        raise click.UsageError(f"{_name_target(stop)!r} names no experiment: {exc}") from exc
    return body


def _name_target(stop: JsonObject) -> str:
    """Return the key or the experiment id that a stop names."""
    (name,) = stop.values()
    return str(name)


def _send_messages(target: Target, run: _Run, bodies: Sequence[bytes], namespace: str) -> None:
    for body in bodies:
        # A second copy after an unknown end is harmless.
        message_id = target.smq.send_message(target.queue, body)
        key = derive_message_key(None, message_id, namespace)
        run.sent.append(SentRequest(message_id, key))


def _print_result(run: _Run) -> None:
    for index, (stop, request) in enumerate(zip(run.stops, run.sent)):  # noqa: B905
        console().print(Text(f"{request.message_id}  {_name_target(stop)}"))
        event = run.answers.events.get(index) if run.answers else None
        if event is not None:
            for line in format_outcome(convert_event(request, event)):
                console().print(line)
        elif run.answers is not None:
            console().print(Text("  no event   The message has not been processed yet.", "magenta"))
    if run.error:
        sent = f"Sent {len(run.sent)} of {len(run.stops)}"
        notes().print(f"{sent}, then a call failed: {run.error}", style="red", markup=False)
