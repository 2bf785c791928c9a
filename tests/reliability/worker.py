"""One instance of the function as a process of its own, which can die by SIGKILL at any effect on the outside.

    python worker.py EVENT_FILE [--die-at N] [--clock-offset SECONDS]

Every request to the cloud has three numbered points: before it is sent, after its answer was read, and, told
apart by the server, in between. Settings come from the environment. The report is printed as JSON.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from fcruntime import Fc3Context
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.handler import EventFailed, Function
from hpoq.idempotency.store import open_store
from hpoq.observability import logs


class ShiftedClock(SystemClock):
    """The system's clock, some time later: stands for a process that was started that much later."""

    def __init__(self, offset):
        self.offset = offset

    def now(self):
        return super().now() + self.offset


class Points:
    """Counts the effects on the outside; at the chosen one the process is killed."""

    def __init__(self, die_at):
        self.die_at = die_at
        self.names = []

    def reach(self, name):
        self.names.append(name)
        if len(self.names) == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name, effect):
        def counted(*args, **kwargs):
            self.reach(f"before {name}")
            answer = effect(*args, **kwargs)
            self.reach(f"after {name}")
            return answer

        return counted


def operation(request):
    return request.headers.get("x-acs-action") or f"{request.method} {request.path_url.split('?')[0]}"


def instrumented(points, environ, clock):
    session = new_session()
    send = session.send
    session.send = lambda request, **kwargs: points.around(operation(request), send)(request, **kwargs)
    store = open_store(environ["HPOQ_STORE"])
    for method in ("insert", "replace"):
        setattr(store, method, points.around(f"store.{method}", getattr(store, method)))
    return Function(environ, session=session, clock=clock, store=store)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("event", type=Path)
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--clock-offset", type=float, default=0.0)
    arguments = parser.parse_args()
    logs.configure("INFO", sys.stderr)
    points = Points(arguments.die_at)
    function = instrumented(points, dict(os.environ), ShiftedClock(arguments.clock_offset))
    try:
        report, acknowledged = function.handle(arguments.event.read_bytes(), Fc3Context("r")), True
    except EventFailed as exc:
        report, acknowledged = exc.report.as_json(), False
    json.dump({"report": report, "acknowledged": acknowledged, "points": points.names}, sys.stdout)


if __name__ == "__main__":
    main()
