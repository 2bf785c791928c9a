"""Many messages through the real queue and event stream, to instances that fail and die: what is left in the end.

    python tests/reliability/soak.py [--messages 20000] [--store URL] [--seed N]

Of the messages 5 % are invalid and 20 % are sent twice under one key; 10 % of the calls of the cloud fail, before or
after the service acted, and every hundredth instance is killed at a random effect. Exit code 1: an invariant broke.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from instances import Instances

import alilocal
from alilocal.eventstream import EventStream

REQUEST = json.loads((Path(__file__).parents[2] / "events" / "requests" / "minimal.json").read_text())
INVALID, TWICE, FAULTY, KILL_EVERY = 0.05, 0.20, 0.10, 100
BATCH = 16
WAIT_SECONDS = 120.0
FAULTS = [
    ("paiautoml", "CreateHpoExperiment", {"kind": "reset", "when": "after"}),
    ("paiautoml", "CreateHpoExperiment", {"kind": "reset", "when": "before"}),
    ("paiautoml", "CreateHpoExperiment", {"kind": "status", "status": 503, "when": "after"}),
    ("paiautoml", "CreateHpoExperiment", {"kind": "status", "status": 429, "when": "before"}),
    ("paiautoml", "ListHpoExperiments", {"kind": "truncate", "when": "after"}),
    ("smq", "PublishMessage", {"kind": "reset", "when": "after"}),
    ("smq", "PublishMessage", {"kind": "status", "status": 500, "when": "before"}),
]


class Failed(Exception):
    """The instance did not acknowledge the event, or was killed."""


class Soak:
    """One run over `server`; `tell` hears how far it is."""

    def __init__(self, server, messages, store, seed, tell, kill_every):
        self.random = random.Random(seed)
        self.tell = tell
        self.cloud = server.cloud
        self.queue = self.cloud.queues.create("hpo-requests")
        self.dead = self.cloud.queues.create("hpo-requests-dead")
        self.cloud.topics.create("hpo-results")
        self.instances = Instances(server, {"HPOQ_STORE": store, "HPOQ_MAX_ATTEMPTS": "1000"})
        self.kill_every = kill_every
        self.kills = self.runs = 0
        self.valid = self.send(messages)
        self.messages = messages

    def send(self, messages):
        """Fill the queue; the number of different valid requests."""
        bodies = []
        for number in range(messages):
            if self.random.random() < INVALID:
                bodies.append(json.dumps({"experiment": {"Nmae": str(number)}}))
                continue
            body = json.dumps({**REQUEST, "idempotencyKey": f"soak-{number}"})
            bodies += [body] * (2 if self.random.random() < TWICE else 1)
        self.random.shuffle(bodies)
        for body in bodies:
            self.queue.send(body)
        return sum(1 for body in set(bodies) if "idempotencyKey" in body)

    def invoke(self, event):
        self.runs += 1
        die_at = 0 if self.runs % self.kill_every else self.random.randint(1, 5 * BATCH)
        answer = self.instances.run(event, die_at)
        self.kills += answer is None
        if answer is None or not answer["acknowledged"]:
            raise Failed

    def run(self):
        """Deliver until nothing is left."""
        for service, operation, fault in FAULTS:
            share = FAULTY / sum(name == operation for _, name, _ in FAULTS)
            self.cloud.faults.add(
                service=service, operation=operation, times=None, probability=share, **fault
            )
        stream = EventStream(
            self.cloud,
            queue="hpo-requests",
            invoke=self.invoke,
            batch_size=BATCH,
            retry="EXPONENTIAL_DECAY_RETRY",
            dead_letter_queue="hpo-requests-dead",
        )
        while not stream.idle:
            if not stream.step():
                self.cloud.clock.advance(WAIT_SECONDS)
            self.tell(self.runs, len(self.cloud.experiments), self.valid)
        self.instances.close()

    def broken(self):
        """What is not as it must be, seen from the outside."""
        history = self.instances.history()
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


def soak(messages, store, seed, tell=lambda *_: None, kill_every=KILL_EVERY):
    """Run, and give back the finished run."""
    with alilocal.serve() as server:
        run = Soak(server, messages, store, seed, tell, kill_every)
        run.run()
        return run, run.broken()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--store", help="by default an SQLite file that is thrown away")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    began = time.monotonic()

    def tell(runs, made, valid):
        if runs % 20 == 0:
            sys.stderr.write(
                f"\r{made} of {valid} experiments, {runs} deliveries, {time.monotonic() - began:.0f} s "
            )

    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or f"sqlite:///{folder}/records.sqlite3"
        run, broken = soak(arguments.messages, store, arguments.seed, tell)
    sys.stderr.write("\n")
    sys.stdout.write(
        f"seed {arguments.seed}: {run.messages} messages, {run.valid} experiments, {run.runs} deliveries, "
        f"{run.kills} instances killed, {time.monotonic() - began:.0f} s\n"
    )
    sys.stdout.write(("\n".join(broken) or "nothing lost, nothing duplicated") + "\n")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
