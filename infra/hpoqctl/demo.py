"""`hpoq demo`: the whole pipeline under faults, on this machine, with a proof at the end.

    20 messages ──▶ queue ──▶ event stream ──▶ hpoq, in processes of its own ──▶ topic
                                                 │        │
                       (faults on the way) ──▶ records   PAI AutoML

The local cloud's clock is advanced whenever everything waits, so that time-outs, leases and delays of minutes pass in
a moment. Nothing outside this machine is reached.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

import alilocal
from alilocal.core.faults import Fault
from alilocal.eventstream import EventStream
from alilocal.fc.function import Function
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.events import outcome_of
from hpoq.contract.identity import derive_message_key, find_marker_keys
from hpoq.contract.request import read_producer_key
from hpoq.producer.build import build_request, loguniform
from hpoqctl.demotrials import run_trials
from hpoqctl.livelog import LiveLog
from hpoqctl.output import console, json_option, print_json
from hpoqctl.pipeline import (
    QUEUE,
    TOPIC,
    create_function,
    create_pipeline,
    local_settings,
    local_store_url,
    make_streams,
)

_CREATES = {"service": "paiautoml", "operation": "CreateHpoExperiment"}
_FAULTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("A proxy delivers a create twice", {**_CREATES, "kind": "copy", "seconds": 1.0, "nth": 2}),
    ("The answer to a create is lost", {**_CREATES, "kind": "reset", "when": "after", "nth": 3}),
    ("PAI throttles", {**_CREATES, "kind": "status", "status": 429, "code": "Throttling.User", "nth": 5}),
    (
        "PAI answers 503, but has created the experiment",
        {**_CREATES, "kind": "status", "status": 503, "when": "after", "nth": 7},
    ),
    (
        "The answer to publishing an event is lost",
        {"service": "smq", "operation": "PublishMessage", "kind": "reset", "when": "after", "nth": 2},
    ),
    (
        "The table of records is unavailable",
        {"service": "tablestore", "kind": "status", "status": 503, "nth": 9},
    ),
)
_CRASH = "An instance is killed in the middle of a create"
_CRASH_FAULT = {**_CREATES, "kind": "stall", "when": "after", "nth": 10, "seconds": 60.0}
# The local cloud lists a new experiment at once, so nothing needs to wait for that.
_SETTINGS = {"HPOQ_CONSISTENCY_SECONDS": "1"}
_REQUESTS, _REPEATS = 15, 3
_BATCH_SIZE = 4
_MISTAKES = (b'{"experiment": {"Name": "demo-mistake", "max_trials": 20}}', b"{'experiment': None}")
_MOST_SECONDS = 90.0
_NEXT = "Next: hpoq init writes a request of your own, and hpoq local starts a pipeline that takes it."
_LOOK_SECONDS = 0.02
# Longer than a lease and the time in which an interrupted create may still take effect, so that the next attempt need
# not wait for their end; and shorter than an idle instance is kept.
_STEP_SECONDS = 240.0


@dataclass
class _Demo:
    """The state of a run. `labels` names each message by its id."""

    cloud: alilocal.LocalCloud
    function: Function
    streams: Sequence[EventStream]
    out: Console
    quiet: bool
    bodies: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    crashed: bool = False

    def send(self) -> None:
        """Put all messages into the queue, repeats and mistakes among them."""
        queue = self.cloud.queues.get(QUEUE)
        for body in make_messages():
            self.bodies[queue.send(body)] = body

    def advance(self) -> bool:
        """Return whether all messages are done. If everything waits, advance the clock, or kill an instance."""
        self._announce()
        if self.faults[_CRASH].hits and not self.crashed:
            self.crashed = bool(self.function.crash())
        if any(stream.running_ids for stream in self.streams):
            return False
        if all(stream.idle for stream in self.streams) and not self.count_waiting():
            return True
        if all(stream.waiting or stream.idle for stream in self.streams):
            self.cloud.clock.advance(_STEP_SECONDS)
        return False

    def count_waiting(self) -> int:
        """Return how many messages are in the queues of requests and of experiments to look at."""
        return sum(len(self.cloud.queues.get(stream.queue_name).messages) for stream in self.streams)

    def _announce(self) -> None:
        for what, fault in self.faults.items():
            if fault.hits and what not in self.announced:
                self.announced.add(what)
                if not self.quiet:
                    self.out.print(Text(f"          FAULT      {what}.", "bold magenta"))

    def prove(self) -> _Proof:
        """Compare what was sent with what is in the cloud now."""
        return _Proof(
            dict(self.bodies),
            Counter(one for delivery in self.streams[0].deliveries for one in delivery.message_ids),
            [
                (key, experiment.experiment_id)
                for experiment in self.cloud.experiments
                for key in find_marker_keys(experiment.tags, experiment.description)
            ],
            [json.loads(message.body) for message in self.cloud.topics.get(TOPIC).published],
            [what for what, fault in self.faults.items() if fault.hits],
        )


@dataclass(frozen=True)
class _Proof:
    """What was sent, how often each message was delivered, and the experiments and events that exist at the end."""

    bodies: Mapping[str, bytes]
    deliveries: Mapping[str, int]
    marked: Sequence[tuple[str, str]]
    events: Sequence[JsonObject]
    faults: Sequence[str]

    def rows(self) -> Iterator[JsonObject]:
        """Yield a row for each key: its messages, deliveries, experiments, and distinct events."""
        by_key: dict[str, list[str]] = {}
        for message_id, body in self.bodies.items():
            by_key.setdefault(derive_message_key(read_producer_key(body), message_id), []).append(message_id)
        for key, messages in by_key.items():
            events = {str(event["id"]): outcome_of(event) for event in self._find_events(key)}
            listed: list[JsonValue] = [*messages]
            yield {
                "key": key,
                "messages": listed,
                "deliveries": sum(self.deliveries.get(one, 0) for one in messages),
                "experiments": [one for marked, one in self.marked if marked == key],
                "events": [*events.values()],
            }

    def _find_events(self, key: str) -> Iterator[JsonObject]:
        for event in self.events:
            data = event.get("data")
            if isinstance(data, dict) and data.get("idempotencyKey") == key:
                yield event

    @property
    def lost(self) -> int:
        """The number of messages whose key has no event."""
        return sum(len(_as_list(row["messages"])) for row in self.rows() if not row["events"])

    @property
    def created_twice(self) -> int:
        """The number of keys with more than one experiment."""
        return sum(count > 1 for count in Counter(key for key, _ in self.marked).values())

    def summarize(self, seconds: float) -> str:
        return (
            f"{len(self.bodies)} messages, {len(self.marked)} experiments, {self.lost} lost, "
            f"{self.created_twice} created twice; {len(self.faults)} faults survived, in {seconds:.1f} s."
        )


@click.command(name="demo")
@click.option("--seed", type=int, default=7, show_default=True, help="The seed of ids and delays.")
@json_option
def command(seed: int, as_json: bool) -> None:
    """Show the whole pipeline under faults, on this machine, and prove that nothing is lost or created twice.

    20 messages, some of them repeated or invalid, go through a local cloud with the real function. On the way answers
    are lost, a service throttles, and an instance is killed. At the end each key is listed with its deliveries and
    its experiment, which the function has followed to its end. With the extra `trials`, two searches with real trials
    come after that.

    Nothing outside this machine is reached, and nothing is written.

    Exit code 1 means that a message was lost or an experiment was created twice.
    """
    began = time.monotonic()
    out = console()
    with _start(out, seed, quiet=as_json) as demo:
        _follow(demo, as_json=as_json)
        proof = demo.prove()
    seconds = time.monotonic() - began
    is_good = not proof.lost and not proof.created_twice
    if not as_json:
        _print_proof(out, proof)
    trials = run_trials(None if as_json else out) if is_good else []
    if as_json:
        _print_json(proof, seconds, trials)
    else:
        out.print(Text(f"\n{proof.summarize(seconds)}", "bold green" if is_good else "bold red"))
        out.print(_NEXT, markup=False)
    raise SystemExit(0 if is_good else 1)


@contextlib.contextmanager
def _start(out: Console, seed: int, *, quiet: bool) -> Iterator[_Demo]:
    """Start the local cloud with the function, and send the messages."""
    with alilocal.LocalCloud(seed=seed) as cloud, alilocal.serve(port=0, cloud=cloud) as server:
        create_pipeline(cloud)
        store = local_store_url(f"127.0.0.1:{server.port}")
        environ = {**local_settings(cloud, server.url, store), **_SETTINGS}
        function = create_function(cloud, environ, on_output=None if quiet else LiveLog(out).write)
        streams = make_streams(cloud, function, _BATCH_SIZE)
        cloud.title = "hpoq demo"
        demo = _Demo(cloud, function, streams, out, quiet)
        for what, settings in (*_FAULTS, (_CRASH, _CRASH_FAULT)):
            demo.faults[what] = cloud.faults.add(**settings)
        demo.send()
        if not quiet:
            out.print(
                Text(f"{len(demo.bodies)} messages are in the queue. Watch {server.url}/_console", "bold")
            )
        for stream in streams:
            stream.start()
        yield demo
        for stream in streams:
            stream.stop()


def make_messages() -> list[bytes]:
    """Return the bodies to send: requests, some of them a second time, and mistakes."""
    requests = [
        build_request(
            name=f"demo-{number}",
            platform="DLC",
            commands=["dlc submit pytorch --command='python train.py --lr=${lr}'"],
            metric="val_loss=([0-9.]+)",
            goal="minimize",
            parameters={"lr": loguniform(1e-4, 0.1)},
            trials=20,
            parallel=5,
            idempotency_key=f"demo-{number}",
            sections={"dlc_config": {"region": "cn-hangzhou"}},
        ).document
        for number in range(1, _REQUESTS + 1)
    ]
    bodies = [json.dumps(request).encode() for request in requests]
    return [*bodies[:8], _MISTAKES[0], *bodies[:_REPEATS], *bodies[8:], _MISTAKES[1]]


def _follow(demo: _Demo, *, as_json: bool) -> None:
    """Wait until all messages are done, with a bar on a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=demo.out,
        transient=True,
        disable=as_json or not demo.out.is_terminal,
    )
    until = time.monotonic() + _MOST_SECONDS
    with bar:
        task = bar.add_task("messages done", total=len(demo.bodies))
        while not demo.advance():
            bar.update(task, completed=max(0, len(demo.bodies) - demo.count_waiting()))
            if time.monotonic() > until:
                raise click.ClickException(f"The demo did not end within {_MOST_SECONDS:.0f} s.")
            time.sleep(_LOOK_SECONDS)


def _print_proof(out: Console, proof: _Proof) -> None:
    out.print(Text(f"\n  {'key':8}  messages  deliveries  {'events':17}  experiment", "dim"))
    for row in proof.rows():
        messages, experiments = len(_as_list(row["messages"])), _as_list(row["experiments"])
        events = ", ".join(map(str, _as_list(row["events"]))) or "none"
        line = f"  {str(row['key'])[:8]}  {messages:8}  {row['deliveries']!s:>10}  {events:17}  "
        out.print(Text(line + (", ".join(map(str, experiments)) or "-")))


def _print_json(proof: _Proof, seconds: float, trials: Sequence[JsonObject]) -> None:
    print_json(
        {
            "messages": len(proof.bodies),
            "experiments": len(proof.marked),
            "lost": proof.lost,
            "createdTwice": proof.created_twice,
            "faults": [*proof.faults],
            "seconds": round(seconds, 1),
            "proof": [*proof.rows()],
            "trials": [*trials],
        }
    )


def _as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
