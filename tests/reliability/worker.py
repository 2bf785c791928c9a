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

from points import Points

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


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def operation(request):
    return request.headers.get("x-acs-action") or f"{request.method} {request.path_url.split('?')[0]}"


def instrumented(points, environ, clock):
    session = new_session()
    send = session.send
    session.send = lambda request, **kwargs: points.around(operation(request), send)(request, **kwargs)
    store = points.around_store(open_store(environ["HPOQ_STORE"]))
    return Function(environ, session=session, clock=clock, store=store)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("event", type=Path)
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--clock-offset", type=float, default=0.0)
    arguments = parser.parse_args()
    logs.configure("INFO", sys.stderr)
    points = Points(arguments.die_at, die)
    function = instrumented(points, dict(os.environ), ShiftedClock(arguments.clock_offset))
    try:
        report, acknowledged = function.handle(arguments.event.read_bytes(), Fc3Context("r")), True
    except EventFailed as exc:
        report, acknowledged = exc.report.as_json(), False
    json.dump({"report": report, "acknowledged": acknowledged, "points": points.names}, sys.stdout)


if __name__ == "__main__":
    main()
