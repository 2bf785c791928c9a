"""A process killed at every effect on the outside, then redelivered: one experiment, one event."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import alilocal
from hpoq.testing import smq_event
from hpoq.testing.events import encode_body
from hpoq.testing.history import History

WORKER = Path(__file__).with_name("worker.py")
REQUEST = Path(__file__).parents[2] / "events" / "requests" / "minimal.json"
LATER_SECONDS = 200.0


@pytest.fixture
def server():
    with alilocal.serve() as running:
        running.cloud.queues.create("hpo-requests")
        running.cloud.topics.create("hpo-results")
        yield running


class Deliveries:
    """Delivers one event to fresh processes, each of which lives later than the one before."""

    def __init__(self, server, folder):
        self.server = server
        self.event = folder / "event.json"
        self.event.write_bytes(smq_event("M1", encode_body(REQUEST.read_bytes())))
        cloud = server.cloud
        self.environ = {
            **os.environ,
            "HPOQ_STORE": f"sqlite:///{folder / 'records.sqlite3'}",
            "HPOQ_PAIAUTOML_ENDPOINT": server.url,
            "HPOQ_SMQ_ENDPOINT": server.url,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        }
        self.count = 0

    def run(self, die_at=0):
        """What the process answered; None if it was killed."""
        offset = LATER_SECONDS * self.count
        self.count += 1
        options = ["--die-at", str(die_at), "--clock-offset", str(offset)]
        done = subprocess.run(
            [sys.executable, str(WORKER), str(self.event), *options],
            env=self.environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        return json.loads(done.stdout) if done.returncode == 0 else None

    def until_acknowledged(self):
        for _ in range(3):
            answer = self.run()
            if answer["acknowledged"]:
                return answer
        raise AssertionError("never acknowledged")

    def history(self):
        cloud = self.server.cloud
        history = History(complete=True)
        history.events = [json.loads(message.body) for message in cloud.topics.get("hpo-results").published]
        history.experiments = [
            (dict(experiment.tags)["hpoq-key"], experiment.experiment_id) for experiment in cloud.experiments
        ]
        return history


def test_killed_at_every_point(server, tmp_path):
    """Wherever the process dies, redelivery ends with one experiment, one event id, and an acknowledgement."""
    points = Deliveries(server, tmp_path).run()["points"]
    assert len(points) >= 10, points
    for number, name in enumerate(points, 1):
        server.cloud.reset()
        server.cloud.queues.create("hpo-requests")
        server.cloud.topics.create("hpo-results")
        folder = tmp_path / str(number)
        folder.mkdir()
        deliveries = Deliveries(server, folder)
        assert deliveries.run(die_at=number) is None, name
        answer = deliveries.until_acknowledged()
        history = deliveries.history()
        history.add_report(answer["report"])
        assert history.broken() == [], name
        assert len(history.experiments) == 1, name
        assert len({event["id"] for event in history.events}) == 1, name
        again = deliveries.run()
        assert again["report"]["summary"]["duplicate"] == 1, name
        assert len(server.cloud.experiments) == 1, name
