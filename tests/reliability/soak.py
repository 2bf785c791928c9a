"""Many messages through the real queue and event stream, to instances that fail and die: what is left in the end.

    python tests/reliability/soak.py [--messages 20000] [--marker tag] [--store URL] [--seed N]

Of the messages 5 % are invalid, 5 % bring as many tags as the service takes, and 20 % are sent twice under one key.
One call in ten fails: before or after the service acted, by an answer of the service or of a proxy, late or twice.
Each instance either fails its event or sends back what it could not do, and now and then one is killed at a random
effect. Some events are delivered again although they succeeded. Exit code 1: an invariant broke.
"""

import argparse
import contextlib
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from instances import Instances

import alilocal
from alilocal.eventstream import EventStream
from hpoq.contract.identity import MOST_TAGS
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, create_resources
from support.request import request

INVALID, FULL_OF_TAGS, TWICE, FAULTY = 0.05, 0.05, 0.20, 0.10
REPEAT_EVERY, KILL_EVERY = 33, 20
TAGS = [{"Key": f"k{number}", "Value": "v"} for number in range(MOST_TAGS)]
BATCH = 16
WAIT_SECONDS = 120.0
# A search for an experiment reads those from a day before its claim on.
A_DAY, DAY_SECONDS = 1000, 86_400.0
PAI, SMQ = "paiautoml", "smq"
CREATE, LIST, PUBLISH, SEND = "CreateHpoExperiment", "ListHpoExperiments", "PublishMessage", "SendMessage"
FAULTS = [
    (PAI, CREATE, {"kind": "reset", "when": "after"}),
    (PAI, CREATE, {"kind": "reset", "when": "before"}),
    (PAI, CREATE, {"kind": "reset", "when": "forwarded"}),
    (PAI, CREATE, {"kind": "status", "status": 503, "when": "after"}),
    (PAI, CREATE, {"kind": "status", "status": 429, "when": "before"}),
    (PAI, CREATE, {"kind": "foreign", "status": 404, "when": "after"}),
    (PAI, CREATE, {"kind": "foreign", "status": 502, "when": "forwarded"}),
    (PAI, CREATE, {"kind": "late", "seconds": 30}),
    (PAI, CREATE, {"kind": "late", "seconds": 400}),
    (PAI, CREATE, {"kind": "copy", "seconds": 30}),
    (PAI, CREATE, {"kind": "copy", "seconds": 400}),
    (PAI, LIST, {"kind": "truncate", "when": "after"}),
    (PAI, LIST, {"kind": "foreign", "status": 200, "when": "before"}),
    (SMQ, PUBLISH, {"kind": "reset", "when": "after"}),
    (SMQ, PUBLISH, {"kind": "status", "status": 500, "when": "before"}),
    (SMQ, PUBLISH, {"kind": "copy", "seconds": 120}),
    (SMQ, SEND, {"kind": "reset", "when": "after"}),
    (SMQ, SEND, {"kind": "foreign", "status": 502, "when": "before"}),
    (SMQ, SEND, {"kind": "copy", "seconds": 30}),
    (SMQ, SEND, {"kind": "late", "seconds": 120}),
]
PAGE = 100
SETTINGS = {
    "HPOQ_LIST_PAGE_SIZE": str(PAGE),
    "HPOQ_MAX_ATTEMPTS": "1000",
    "HPOQ_REQUEUE_DELAY_SECONDS": "1",
    # The sender of a late request waits for so long, in real time.
    "HPOQ_READ_TIMEOUT_SECONDS": "1",
}


class Failed(Exception):
    """The instance did not acknowledge the event, or was killed."""


class Soak:
    """One run over `server`; `on_progress` is called with its progress."""

    def __init__(self, server, messages, settings, seed, on_progress, kill_every, repeat_every):
        self.random = random.Random(seed)
        self.on_progress = on_progress
        self.cloud = server.cloud
        create_resources(self.cloud)
        self.queue, self.dead = (self.cloud.queues.get(name) for name in (QUEUE, DEAD_LETTER_QUEUE))
        self.instances = Instances(server, {**SETTINGS, **settings})
        self.kill_every, self.repeat_every = kill_every, repeat_every
        self.kills = self.runs = self.acknowledged = self.repeated = self.die_at = 0
        self.reports = []
        self.messages = messages
        self.days = self.make_days(messages)
        self.valid = sum("idempotencyKey" in body for body in set(itertools.chain(*self.days)))

    def make_days(self, messages):
        """Return the messages to send on each day."""
        bodies = []
        for number in range(messages):
            if self.random.random() < INVALID:
                bodies.append(json.dumps({"experiment": {"Nmae": str(number)}}))
                continue
            tags = {"Tag": TAGS} if self.random.random() < FULL_OF_TAGS else {}
            body = request(f"soak-{number}", **tags)
            bodies += [body] * (2 if self.random.random() < TWICE else 1)
        days = [bodies[begin : begin + A_DAY] for begin in range(0, len(bodies), A_DAY)]
        for day in days:
            self.random.shuffle(day)
        return days

    def invoke(self, event):
        """Deliver `event`, sometimes twice. Raise Failed if it was not acknowledged the first time."""
        self.deliver(event)
        self.acknowledged += 1
        if self.acknowledged % self.repeat_every == 0:
            self.repeated += 1
            with contextlib.suppress(Failed):
                self.deliver(event)

    def deliver(self, event):
        self.runs += 1
        if self.runs % self.kill_every == 0 and not self.die_at:
            # A fixed step through the effects of a full batch.
            self.die_at = 1 + 7 * self.runs % (4 * BATCH)
        policy = self.random.choice(["raise", "requeue"])
        answer = self.instances.run(event, self.die_at, HPOQ_BATCH_POLICY=policy)
        if answer is None:
            self.kills += 1
            self.die_at = 0
            raise Failed
        # A delivery of few messages may end before that effect. Then a later one dies, at an earlier effect.
        self.die_at = (self.die_at + 1) // 2
        self.reports.append(answer["report"])
        if not answer["acknowledged"]:
            raise Failed

    def run(self):
        """Deliver until nothing is left, in a queue or under way."""
        for service, operation, fault in FAULTS:
            share = FAULTY / sum(name == operation for _, name, _ in FAULTS)
            if operation == LIST:
                # One search in ten fails, not one page in ten: a search of many pages could never end.
                share /= max(1, min(self.messages, 2 * A_DAY) / PAGE)
            self.cloud.faults.add(
                service=service, operation=operation, times=None, probability=share, **fault
            )
        stream = EventStream(
            self.cloud,
            queue=QUEUE,
            invoke=self.invoke,
            batch_size=BATCH,
            retry="EXPONENTIAL_DECAY_RETRY",
            dead_letter_queue=DEAD_LETTER_QUEUE,
        )
        for day in self.days:
            for body in day:
                self.queue.send(body)
            while not stream.idle or self.queue.messages or self.cloud.late:
                if not stream.step():
                    self.cloud.clock.advance(WAIT_SECONDS)
                    self.cloud.deliver_late()
                self.on_progress(self.runs, len(self.cloud.experiments), self.valid)
            self.cloud.clock.advance(DAY_SECONDS)
        self.instances.close()

    def broken(self):
        """Return the invariants that are broken, as seen from outside."""
        history = self.instances.history()
        for report in self.reports:
            history.add_report(report)
        history.finished = True
        kinds = Counter(event["type"].split(".")[-2] for event in history.events)
        ids = {event["id"] for event in history.events}
        wanted = {
            "experiments": (len(self.cloud.experiments), self.valid),
            "event ids": (len(ids), self.messages),
            "failed events": (kinds["failed"], 0),
            "messages left": (len(self.queue.messages), 0),
            "dead letters": (len(self.dead.messages), 0),
        }
        wrong = [
            f"{name}: {found}, expected {number}"
            for name, (found, number) in wanted.items()
            if found != number
        ]
        return [*history.broken(), *wrong]

    @property
    def faults(self):
        """How often each kind of fault was applied."""
        hits = Counter()
        for fault in self.cloud.faults.all():
            hits[fault.kind] += fault.hits
        return hits


def soak(
    messages, settings, seed, on_progress=lambda *_: None, kill_every=KILL_EVERY, repeat_every=REPEAT_EVERY
):
    """Return the finished run, and what it broke."""
    with alilocal.serve() as server:
        run = Soak(server, messages, settings, seed, on_progress, kill_every, repeat_every)
        run.run()
        return run, run.broken()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument(
        "--marker",
        default="both",
        choices=["both", "tag", "description"],
        help="tag: most searches read a page or two, otherwise all experiments of two days",
    )
    parser.add_argument("--store", help="by default an SQLite file that is thrown away")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    began = time.monotonic()

    def on_progress(runs, made, valid):
        if runs % 20 == 0:
            sys.stderr.write(
                f"\r{made} of {valid} experiments, {runs} deliveries, {time.monotonic() - began:.0f} s "
            )

    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or f"sqlite:///{folder}/records.sqlite3"
        settings = {"HPOQ_STORE": store, "HPOQ_MARKER": arguments.marker}
        run, broken = soak(arguments.messages, settings, arguments.seed, on_progress)
    sys.stderr.write("\n")
    hits = run.faults
    sys.stdout.write(
        f"seed {arguments.seed}: {run.messages} messages, {run.valid} experiments, {run.runs} deliveries, "
        f"{run.kills} instances killed, {run.repeated} events delivered again, {time.monotonic() - began:.0f} s\n"
        f"{hits['copy']} copies, {hits['late']} late requests, {hits['reset']} resets, "
        f"{hits['foreign']} foreign answers, {hits['status'] + hits['truncate']} other faults\n"
    )
    sys.stdout.write(("\n".join(broken) or "nothing lost, nothing duplicated") + "\n")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
