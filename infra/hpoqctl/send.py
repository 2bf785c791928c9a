"""`hpoq send`: check requests, put them into the queue, and optionally wait for their events."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import click
from rich.progress import Progress
from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from hpoq.contract.events import outcome_of
from hpoq.contract.finding import get_member
from hpoq.contract.identity import derive_message_key
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import compute_fingerprint
from hpoq.contract.stop import StopRequest
from hpoq.errors import CallError
from hpoq.producer import SentRequest
from hpoqctl.checking import TOO_LARGE, Checked, KeyCheck, check_document, derive_own_key, format_result
from hpoqctl.experimentlog import Experiments
from hpoqctl.files import Document, read_requests
from hpoqctl.following import (
    ENDS,
    TrialProgress,
    WaitCommand,
    find_experiments,
    format_finished,
    is_good_result,
)
from hpoqctl.inbox import Answers, Inbox, Sending, convert_event, open_inbox_at
from hpoqctl.numbers import Number
from hpoqctl.output import console, count_of, format_outcome, json_option, notes, print_json, track_progress
from hpoqctl.services import (
    Target,
    explain_failure,
    find_target,
    queue_option,
    read_settings,
    smq_endpoint_option,
    usage_errors,
)

_UNPROTECTED = (
    "{requests} without an idempotencyKey. Sending the same again creates another experiment. To prevent that, "
    "add a key or use --key auto."
)


@dataclass(frozen=True)
class Outgoing:
    """A request to send; `request` is None if it is invalid.

    An invalid request is rejected under the key of its message, even if it has an idempotencyKey.
    """

    document: Document
    request: ExperimentRequest | StopRequest | None

    @property
    def is_protected(self) -> bool:
        """Whether the request can be sent again without a second experiment, by its own key or its CloudEvent's."""
        creates_nothing = isinstance(self.request, StopRequest) or (self.request and self.request.dry_run)
        return bool(creates_nothing) or derive_own_key(self.document.data, self.request, "") is not None


def prepare_requests(
    documents: Iterable[Document], *, key: str | None, check: bool, as_json: bool
) -> list[Outgoing]:
    """Return the requests to send. With `check`, an invalid one ends the command, with what `hpoq check` prints.

    Warnings are printed to standard error. `key` is "auto" to derive missing keys. Raises click.BadParameter for a
    file that cannot be read as a request at all.
    """
    keys = KeyCheck()
    checked = [keys.add(_check_size(check_document(document))) for document in documents]
    invalid = [one for one in checked if not one.valid]
    if check and invalid:
        _print_invalid(checked, invalid, as_json=as_json)
        raise SystemExit(1)
    for one in checked:
        if one.document.problem:
            place, problem = one.document.place, one.document.problem[0]
            raise click.BadParameter(f"{place}: {problem.message}", param_hint="FILE")
        if check and one.warnings and not as_json:
            for line in format_result(one):
                notes().print(line)
    outgoing = [_add_key(one) if key == "auto" else _make_outgoing(one) for one in checked]
    # An invalid one is rejected, whatever its key is.
    unprotected = sum(one.request is not None and not one.is_protected for one in outgoing)
    if unprotected and not as_json:
        notes().print(_UNPROTECTED.format(requests=count_of(unprotected, "request")), markup=False)
    return outgoing


def _check_size(checked: Checked) -> Checked:
    """Make the warning about the size a violation: what is sent goes through SMQ."""
    large = [one for one in checked.warnings if one.violation.rule == TOO_LARGE]
    others = [one for one in checked.warnings if one.violation.rule != TOO_LARGE]
    return replace(checked, violations=[*checked.violations, *large], warnings=others)


def _print_invalid(checked: Sequence[Checked], invalid: Sequence[Checked], *, as_json: bool) -> None:
    if as_json:
        print_json({"sent": [], "files": [one.as_row() for one in checked]})
        return
    for one in invalid:
        for line in format_result(one):
            console().print(line)
    verb = "is" if len(invalid) == 1 else "are"
    which = "the request" if len(checked) == 1 else f"{len(invalid)} of {len(checked)} requests"
    notes().print(f"Nothing was sent, because {which} {verb} invalid.", style="red", markup=False)


def _make_outgoing(checked: Checked) -> Outgoing:
    return Outgoing(checked.document, checked.parsed.request if checked.parsed else None)


def _add_key(checked: Checked) -> Outgoing:
    """Return the request with a key that is derived from its experiment, unless it has one already."""
    outgoing = _make_outgoing(checked)
    request = outgoing.request
    if not isinstance(request, ExperimentRequest) or outgoing.is_protected:
        return outgoing
    # Two requests share it if and only if they ask for the same experiment.
    key = f"auto-{compute_fingerprint(request.wire())[:32]}"
    document = {**request.wire(), "idempotencyKey": key}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    keyed = request.model_copy(update={"idempotency_key": key})
    return Outgoing(replace(outgoing.document, data=body), keyed)


_TIMEOUT_SECONDS = 300.0
_GOOD = ("created", "accepted", "stopping")
_NO_RESULT = "The experiment has not ended. hpoq trials {experiment_id} --follow follows it."
_NO_EVENT = "The message has not been processed yet, or its event went to earlier subscribers only."


@dataclass(kw_only=True)
class _Run(Sending):
    """What was sent of `requests`; `failed` is the place of the request that could not be sent."""

    requests: Sequence[Outgoing]
    seconds: float = 0.0
    failed: str | None = None

    def fail(self, problem: str) -> None:
        """End the run with `problem`, after the place of the request that could not be sent if that is the reason."""
        self.error = f"{self.failed}: {problem}" if self.failed else problem

    def is_success(self) -> bool:
        """Return whether every message was sent and, with --wait, came to a good end."""
        if self.error is not None or self.answers is None:
            return self.error is None
        answers = [outcome_of(event) in _GOOD for event in self.answers.events.values()]
        return self.answers.is_complete and all(
            [*answers, *map(is_good_result, self.answers.results.values())]
        )

    def rows(self) -> Iterator[tuple[Document, SentRequest, JsonObject | None, JsonObject | None]]:
        """Yield each document that was sent with its message, its event and its result, None if that has not come."""
        # A failed call leaves fewer messages than requests.
        for index, (outgoing, request) in enumerate(zip(self.requests, self.sent)):  # noqa: B905
            answers = self.answers or Answers(())
            yield outgoing.document, request, answers.events.get(index), answers.results.get(index)


@click.command(name="send", cls=WaitCommand)
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@queue_option
@smq_endpoint_option
@click.option(
    "--key",
    type=click.Choice(["auto"]),
    help="auto: derive an idempotencyKey from the content of each request that has none.",
)
@click.option("--no-check", is_flag=True, help="Send requests as they are, without checking them.")
@click.option(
    "--wait",
    type=click.Choice(ENDS),
    help="Wait until every message is answered by an event (created, the default) or until its experiment has ended.",
)
@click.option(
    "--timeout",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="The longest time that --wait waits. Default: 300, or without limit for finished.",
)
@json_option
@usage_errors()
def command(
    paths: Sequence[str],
    queue: str | None,
    endpoint: str | None,
    key: str | None,
    no_check: bool,
    wait: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Send requests to the queue and print the message id and the key of each.

    A FILE contains one request in JSON, one request per line in JSON Lines (.jsonl, .ndjson), or one or more requests
    in YAML (.yaml, .yml). It can also be a folder, in which files with these names and .json are read and
    JSON Schemas are skipped, or - for standard input.

    All requests are checked first, as `hpoq check` does. If one is invalid, nothing is sent.

    If you repeat `hpoq send`, only requests with an idempotencyKey or in a CloudEvent are protected against a second
    experiment. With --key auto, a request without one gets a key that is derived from its experiment, so that the
    same experiment is created only once.

    --wait creates a temporary queue and subscribes it to the topic of HPOQ_OUTPUT. Both are removed at the end, also
    after Ctrl-C. `--wait finished` waits for the result of each experiment and shows how many of its trials have
    ended; it needs a function that follows experiments (HPOQ_WATCH_QUEUE).

    Exit code 1 means that a request is invalid, or that a message could not be sent. With --wait it also means that a
    request was rejected, that it failed, that an experiment failed, or that an event did not arrive in time.
    """
    if timeout is not None and wait is None:
        raise click.UsageError("--timeout limits the time of --wait. Give --wait too.")
    settings = read_settings()
    client = None
    requests = prepare_requests(read_requests(paths), key=key, check=not no_check, as_json=as_json)
    run = _Run(requests=requests)
    try:
        target = find_target(settings, queue, endpoint)
        with open_inbox_at(target) if wait else contextlib.nullcontext() as inbox:
            _send_requests(target, run, settings.namespace)
            if inbox is not None:
                answers = Answers(run.sent, [one.request for one in requests], to_end=wait == "finished")
                client = find_experiments(settings, target, endpoint) if answers.to_end else None
                _wait_for_answers(inbox, run, answers, timeout, client)
    except CallError as exc:
        run.fail(explain_failure(exc, target))
    if as_json:
        print_json(run.as_json(_describe(*row[:2]) for row in run.rows()))
    else:
        _print_result(run, client)
    raise SystemExit(130 if run.is_interrupted else 0 if run.is_success() else 1)


def _send_requests(target: Target, run: _Run, namespace: str) -> None:
    for outgoing in track_progress(run.requests, "Sending"):
        document = outgoing.document
        key = derive_own_key(document.data, outgoing.request, namespace)
        # After an unknown end the send is repeated only if a second copy would be a duplicate.
        try:
            message_id = target.smq.send_message(target.queue, document.data, repeatable=key is not None)
        except CallError:
            run.failed = document.place
            raise
        key = key or derive_message_key(None, message_id, namespace)
        run.sent.append(SentRequest(message_id, key))


def _wait_for_answers(
    inbox: Inbox, run: _Run, answers: Answers, timeout: float | None, client: Experiments | None
) -> None:
    seconds = timeout or (math.inf if answers.to_end else _TIMEOUT_SECONDS)
    out, began = notes(), time.monotonic()
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Waiting for events", total=len(run.sent))
        requests = [outgoing.document.data for outgoing in run.requests]
        trials = TrialProgress(progress, answers, requests, client) if answers.to_end else None

        def show(count: int) -> None:
            progress.update(task, completed=count)
            if trials is not None:
                trials.update()

        run.wait(inbox, answers, seconds, show)
    run.seconds = time.monotonic() - began


def _describe(document: Document, sent: SentRequest) -> JsonObject:
    return {"path": document.place, "messageId": sent.message_id, "key": sent.key}


def _print_result(run: _Run, client: Experiments | None) -> None:
    first: dict[str, str] = {}  # the place of the first request that each event answers
    for index, (document, request, event, _) in enumerate(run.rows()):
        console().print(Text(f"{request.message_id}  {request.key}  {document.place}"))
        place = document.place if event is None else first.setdefault(str(event.get("id")), document.place)
        if place is not document.place:
            console().print(Text(f"  the same key as {place}, and the same answer", "cyan"))
        elif run.answers is not None:
            for line in _format_answer(run.answers, index, client):
                console().print(line)
    if run.error:
        sent = f"Sent {len(run.sent)} of {count_of(len(run.requests), 'message')}"
        notes().print(f"{sent}, then a call failed: {run.error}", style="red", markup=False)
    elif run.answers is not None:
        console().print(_summarize(run.answers, run.seconds), markup=False)


def _format_answer(answers: Answers, index: int, client: Experiments | None) -> Iterator[Text]:
    """Yield the lines on the event and the result of one message, or on their absence."""
    event, result = answers.events.get(index), answers.results.get(index)
    if event is None:
        yield Text(f"  no event   {_NO_EVENT}", "magenta")
    else:
        yield from format_outcome(convert_event(answers.sent[index], event))
        earlier = get_member(event, "data", "messageId")
        if isinstance(earlier, str) and earlier not in {request.message_id for request in answers.sent}:
            yield Text(f"  sent before, as message {earlier}", "cyan")
    if result is not None:
        yield from format_finished(result, client)
    elif answers.to_end and index in answers.unfinished:
        experiment_id = get_member(event, "data", "experimentId")
        yield Text(f"  no result  {_NO_RESULT.format(experiment_id=experiment_id)}", "magenta")


def _summarize(answers: Answers, seconds: float) -> str:
    """Return how many messages were sent, how they ended, and how long that took."""
    outcomes = Counter(outcome_of(event) for event in answers.events.values())
    ends = [f"{count} {outcome}" for outcome, count in outcomes.items()]
    ends += [f"{len(answers.missing)} without an event"] if answers.missing else []
    if answers.to_end:
        ends += [f"{len(answers.results)} finished"] if answers.results else []
        ends += [f"{len(answers.unfinished)} without a result"] if answers.unfinished else []
    return f"{count_of(len(answers.sent), 'message')} sent: {', '.join(ends)}, in {seconds:.1f} s"
