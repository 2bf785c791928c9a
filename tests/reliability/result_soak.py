"""Many experiments that end in every documented way, while calls fail and instances die: one result each.

    python tests/reliability/result_soak.py [--experiments 1000] [--seed N]

An experiment ends in one of the service's statuses, is deleted, is stopped by its guard or by a message, or never
ends. Requests, stops and watch messages are sent and delivered twice at times; one call in ten fails; instances are
killed. Exit code 1: an experiment has no result, several, or a wrong one.
"""

import argparse
import itertools
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak import BATCH, FAULTS, FAULTY, PAI, Soak

import alilocal
from alilocal.eventstream import EventStream
from hpoq.contract.events import outcome_of
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, WATCH_QUEUE, published_events
from support.request import make_document

GET, TRIALS, STOP = "GetHpoExperiment", "ListHpoTrials", "StopHpoExperiment"
STATUSES = ("FINISHED", "FAILED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED", "NO_MORE_TRIAL")
ENDINGS = (*STATUSES, "deleted", "guard", "stop", "never")
# What the result of an experiment says, by how it ends: its status, and who stopped it.
RESULTS = {status: (status, None) for status in STATUSES} | {
    "deleted": ("DELETED", None),
    "guard": ("USER_CANCELED", "guard"),
    "stop": ("USER_CANCELED", "request"),
    "never": ("UNKNOWN", None),
}
TWICE, ENDS_NOW = 0.2, 0.4
STEP_SECONDS = 60.0
FOLLOWED = {
    "HPOQ_WATCH_QUEUE": WATCH_QUEUE,
    "HPOQ_WATCH_MIN_SECONDS": "30",
    "HPOQ_WATCH_MAX_SECONDS": "600",
    "HPOQ_WATCH_MAX_DAYS": "0.1",
}
MORE_FAULTS = [
    (PAI, operation, fault)
    for operation in (GET, TRIALS, STOP)
    for fault in (
        {"kind": "reset", "when": "before"},
        {"kind": "reset", "when": "after"},
        {"kind": "status", "status": 400, "code": "Throttling.User", "when": "before"},
        {"kind": "status", "status": 503, "when": "after"},
        {"kind": "foreign", "status": 404, "when": "before"},
        {"kind": "truncate", "when": "after"},
    )
]
# The sender of a late request waits for it in real time; `soak.py` has those.
QUICK = [one for one in (*FAULTS, *MORE_FAULTS) if one[2]["kind"] != "late"]


def ending_of(name):
    """Return how the experiment with the name `name` ends."""
    return ENDINGS[int(name.rpartition("-")[2]) % len(ENDINGS)]


class ResultSoak(Soak):
    """One run over `server`."""

    def __init__(self, server, experiments, store, seed, kill_every, repeat_every):
        self.stopped, self.ended = set(), set()
        settings = {"HPOQ_STORE": store, **FOLLOWED}
        super().__init__(server, experiments, settings, seed, lambda *_: None, kill_every, repeat_every)
        self.watch = self.cloud.queues.get(WATCH_QUEUE)

    def make_days(self, messages):
        """Return requests, some of them twice, all for one day."""
        bodies = []
        for number in range(messages):
            document = make_document(f"soak-{number}", Name=f"soak-{number}")
            if ENDINGS[number % len(ENDINGS)] == "guard":
                document["guard"] = {"maxHours": 0.05}
            bodies += [json.dumps(document)] * (1 + (self.random.random() < TWICE))
        return [bodies]

    def run(self):
        """Deliver until nothing is left, in a queue or under way."""
        kinds = Counter()
        for service, operation, fault in QUICK:
            # Each fault is applied once for certain, and otherwise by chance.
            kinds[operation] += 1
            self.cloud.faults.add(service=service, operation=operation, nth=3 * kinds[operation], **fault)
        for service, operation, fault in QUICK:
            share = FAULTY / kinds[operation]
            self.cloud.faults.add(
                service=service, operation=operation, times=None, probability=share, **fault
            )
        streams = [
            EventStream(
                self.cloud,
                queue=queue,
                invoke=self.invoke,
                batch_size=BATCH,
                retry="EXPONENTIAL_DECAY_RETRY",
                dead_letter_queue=DEAD_LETTER_QUEUE,
            )
            for queue in (QUEUE, WATCH_QUEUE)
        ]
        for body in itertools.chain(*self.days):
            self.queue.send(body)
        while self.queue.messages or self.watch.messages or self.cloud.late:
            moved = [stream.step() for stream in streams]
            self.hold()
            if not any(moved):
                self.cloud.clock.advance(STEP_SECONDS)
                self.cloud.deliver_late()
                self.hold()
                self.end_some()
        self.instances.close()

    def hold(self):
        """Prevent new experiments from ending by themselves."""
        for made in self.cloud.experiments[len(self.ended) :]:
            self.ended.add(made.experiment_id)
            made.fail("RUNNING")

    def end_some(self):
        """End some of the experiments that were announced, each in its way."""
        announced = {
            event["data"]["experimentId"]
            for event in published_events(self.cloud)
            if outcome_of(event) == "created"
        }
        for made in self.cloud.experiments:
            if made.experiment_id not in announced or self.random.random() > ENDS_NOW:
                continue
            ending = ending_of(made.name)
            if ending in STATUSES:
                made.failed_as = ending
            elif ending == "deleted":
                made.deleted = True
            elif ending == "stop" and made.experiment_id not in self.stopped:
                self.stopped.add(made.experiment_id)
                body = json.dumps({"stop": {"idempotencyKey": made.name}})
                for _ in range(1 + (self.random.random() < TWICE)):
                    self.queue.send(body)

    def broken(self):
        """Return what is not as it must be, seen from the outside."""
        history = self.instances.history()
        for report in self.reports:
            history.add_report(report)
        history.finished = history.watched = True
        wrong = history.broken()
        results = {}
        for event in history.events:
            if outcome_of(event) == "finished":
                data = event["data"]
                results.setdefault(data["experimentId"], set()).add(
                    (event["id"], data["status"], data.get("stoppedBy"))
                )
        for made in self.cloud.experiments:
            found = results.get(made.experiment_id, set())
            expected = RESULTS[ending_of(made.name)]
            if len(found) != 1 or next(iter(found))[1:] != expected:
                wrong.append(f"{made.name} must end as {expected}: {sorted(found, key=str)}")
        wanted = {
            "experiments": (len(self.cloud.experiments), self.valid),
            "results": (len(results), self.valid),
            "dead letters": (len(self.dead.messages), 0),
        }
        wrong += [
            f"{name}: {found}, expected {number}"
            for name, (found, number) in wanted.items()
            if found != number
        ]
        return wrong


def soak_results(experiments, store, seed, kill_every=20, repeat_every=30):
    """Run, and return the finished run and what is wrong with it."""
    with alilocal.serve() as server:
        run = ResultSoak(server, experiments, store, seed, kill_every, repeat_every)
        run.run()
        return run, run.broken()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, broken = soak_results(
            arguments.experiments, f"sqlite:///{folder}/records.sqlite3", arguments.seed
        )
    sys.stdout.write(
        f"seed {arguments.seed}: {run.valid} experiments, {run.runs} deliveries, {run.kills} instances killed, "
        f"{run.repeated} events delivered again, {sum(run.faults.values())} calls failed\n"
    )
    sys.stdout.write(("\n".join(broken) or "one result each") + "\n")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
