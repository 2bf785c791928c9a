"""Instances of the function as processes of their own, which can die by SIGKILL at any effect on the outside.

    python worker.py

Reads a line of JSON for each run, `{"event": base64, "environ": {...}, "die_at": POINT, "offset": SECONDS}`, and
answers with a line of JSON: the report, whether the event was acknowledged, and all points that were reached, each
as message id, number and name; or null if the process was killed. POINT is what `Points` takes. Every run is a new
instance. One that is to die is a process of its own, forked from this one, which has imported and compiled what it
needs: a cold start without its cost. The others, which need none to themselves, run in this process.

Every store write and every request to the cloud but a GET has points before it is sent and after its answer was
read.
"""

import base64
import gc
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from points import Points

# The function imports these late, when a setting or a message needs them.
import hpoq.contract.request
import hpoq.contract.stop
import hpoq.idempotency.redis
import hpoq.idempotency.sqlite
import hpoq.idempotency.tablestore
import hpoq.processing.reconcile
import hpoq.processing.stop
import hpoq.processing.watch
import hpoq.publishers  # noqa: F401
from fcruntime import Fc3Context
from hpoq.cloud.connections import new_session
from hpoq.function import EventFailed, Function
from hpoq.observability import logs
from hpoq.testing import smq_event
from hpoq.testing.events import encode_body
from support.clock import ShiftedClock
from support.request import request as make_request
from support.sending import intercept
from support.world import WatchedWorld


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def operation(request):
    named = request.headers.get("x-acs-action")
    return named or f"{request.method} {request.path_url.split('?')[0]}"


def instance(points, environ, clock):
    session = new_session()

    def counted(send, request, **kwargs):
        # How many pages a search reads depends on how far other messages are, and reading leaves nothing outside.
        if request.method == "GET":
            return send(request, **kwargs)
        return points.around(operation(request), send)(request, **kwargs)

    intercept(session, counted)
    function = Function(environ, session=session, clock=clock)
    points.around_store(function._store)
    return function


def run(command):
    """One invocation of a fresh instance."""
    die_at = command["die_at"]
    points = Points(tuple(die_at) if isinstance(die_at, list) else die_at, die)
    function = instance(points, command["environ"], ShiftedClock(command["offset"]))
    event = base64.b64decode(command["event"])
    try:
        report, acknowledged = function.handle(event, Fc3Context("r")), True
    except EventFailed as exc:
        report, acknowledged = exc.report.as_json(), False
    finally:
        # No fork may have the connections of another instance.
        function.close()
    return {"report": report, "acknowledged": acknowledged, "points": points.reached}


def in_a_process(command):
    """Return what `run` answers in a fork of this process, or None if the fork was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        # A collection would touch, and so copy, the memory that this process shares with its parent.
        gc.disable()
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


def warm_up():
    """Process messages in a cloud of this process, because Python compiles patterns and more on their first use."""
    bodies = (make_request("k"), '{"experiment": {"Nmae": 1}}', '{"stop": {"idempotencyKey": "k"}}')
    with WatchedWorld() as world:
        outcomes = [
            world.deliver(smq_event(f"M{number}", encode_body(body)))[0]["outcome"]
            for number, body in enumerate(bodies)
        ]
        assert [*outcomes, world.follow()[-1]] == ["created", "rejected", "stopping", "finished"]


def main():
    logs.configure("CRITICAL", sys.stderr)
    warm_up()
    gc.freeze()
    for line in sys.stdin:
        command = json.loads(line)
        answer = in_a_process(command) if command["die_at"] else run(command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
