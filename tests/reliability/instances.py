"""Deliveries to instances that are processes, over a local cloud that is another."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

from hpoq.contract.marker import marked_with
from hpoq.testing.history import History

WORKER = Path(__file__).with_name("worker.py")
LATER_SECONDS = 200.0


class Instances:
    """Makes an instance for each delivery, each some time after the one before."""

    def __init__(self, server, environ):
        cloud = server.cloud
        self.server = server
        self.environ = {
            "HPOQ_PAIAUTOML_ENDPOINT": server.url,
            "HPOQ_SMQ_ENDPOINT": server.url,
            "HPOQ_REGION": cloud.region,
            "HPOQ_ACCOUNT_ID": cloud.account_id,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
            **environ,
        }
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, event, die_at=0, **settings):
        """What the instance answered; None if it was killed."""
        command = {
            "event": base64.b64encode(event).decode(),
            "environ": {**self.environ, **settings},
            "die_at": die_at,
            "offset": self.server.cloud.clock.now() - time.time(),
        }
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the worker ended"
        return json.loads(answer)

    def later(self, seconds=LATER_SECONDS):
        """Move on the cloud's clock, by which the instances go too."""
        self.server.cloud.clock.advance(seconds)

    def history(self):
        """What is to be seen on the outside."""
        cloud = self.server.cloud
        history = History(complete=True)
        history.events = [json.loads(message.body) for message in cloud.topics.get("hpo-results").published]
        history.experiments = [
            (key, experiment.experiment_id)
            for experiment in cloud.experiments
            for key in marked_with(experiment.tags, experiment.description)
        ]
        return history

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
