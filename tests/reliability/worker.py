"""Instances of the function as processes of their own, which can die by SIGKILL at any effect on the outside.

    python worker.py

Reads a line of JSON for each run, `{"event": base64, "environ": {...}, "die_at": N, "offset": SECONDS}`, and
answers with a line of JSON: the report, whether the event was acknowledged, and the names of all points that were
reached; or that the process was killed. Every run is a process of its own, forked from this one, which has imported
everything and done nothing: a cold start without its cost.

Every store write and every request to the cloud has points before it is sent and after its answer was read.
"""

import base64
import json
import os
import signal
import sys

from points import Points

import hpoq.idempotency.redis
import hpoq.idempotency.sqlite
import hpoq.idempotency.tablestore
import hpoq.publishers.smq  # noqa: F401 - settings choose, so the function imports them late
from fcruntime import Fc3Context
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.function import EventFailed, Function
from hpoq.observability import logs


class ShiftedClock(SystemClock):
    """The system's clock, some time later: stands for a process that was started that much later.

    Who sleeps by it finds the time gone by at once.
    """

    def __init__(self, offset):
        self.offset = offset
        self.slept = 0.0

    def now(self):
        return super().now() + self.offset + self.slept

    def monotonic(self):
        return super().monotonic() + self.slept

    def sleep(self, seconds):
        self.slept += max(0.0, seconds)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def operation(request):
    named = request.headers.get("x-acs-action")
    return named or f"{request.method} {request.path_url.split('?')[0]}"


def instance(points, environ, clock):
    session = new_session()
    send = session.send
    session.send = lambda request, **kwargs: points.around(operation(request), send)(request, **kwargs)
    function = Function(environ, session=session, clock=clock)
    points.around_store(function._store)
    return function


def run(command):
    """One invocation of a fresh instance."""
    points = Points(command["die_at"], die)
    function = instance(points, command["environ"], ShiftedClock(command["offset"]))
    event = base64.b64decode(command["event"])
    try:
        report, acknowledged = function.handle(event, Fc3Context("r")), True
    except EventFailed as exc:
        report, acknowledged = exc.report.as_json(), False
    return {"report": report, "acknowledged": acknowledged, "points": points.names}


def in_a_process(command):
    """What `run` answers in a fork of this process; None if that was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with os.fdopen(writing, "w") as answer:
                json.dump(run(command), answer)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if status != 0:
        raise RuntimeError(f"the instance ended with {status}")
    return json.loads(text)


def main():
    logs.configure("CRITICAL", sys.stderr)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(in_a_process(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
