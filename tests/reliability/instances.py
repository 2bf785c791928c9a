"""Deliveries to instances that are processes, over a local cloud that is another."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

from hpoq.testing.history import History
from support.deployment import function_environment, published_events
from support.world import marked_experiments

WORKER = Path(__file__).with_name("worker.py")
LATER_SECONDS = 200.0


class Instances:
    """Makes an instance for each delivery, each some time after the one before."""

    def __init__(self, server, environ):
        self.server = server
        self.environ = function_environment(server, **environ)
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, event, die_at=0, **settings):
        """Return what the instance answered, or None if it was killed."""
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
        """Return the history as it is seen from outside."""
        cloud = self.server.cloud
        history = History(complete=True)
        history.events = published_events(cloud)
        history.experiments = marked_experiments(cloud)
        return history

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
