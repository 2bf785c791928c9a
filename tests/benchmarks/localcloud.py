"""What the local cloud costs: against moto's SQS call by call, within a replay, and until it answers.

    python tests/benchmarks/localcloud.py [--peer VENV]

The peer is installed from the package index into VENV (a temporary folder without one) unless it is there. Both sides
are measured in turns in one run; what counts are the ratios.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from email.utils import formatdate
from pathlib import Path

from mns.account import Account
from mns.queue import Message
from peer_sqs import BODY, timed

import alilocal
from alilocal.core.http import Request
from alilocal.core.mnsv2 import VERSION, signature
from fcruntime.context import Fc3Context, FunctionInfo
from fcruntime.invoke import invoke
from hpoq.cli.cloud import DEAD_LETTER_QUEUE, QUEUE, environment, lay_out
from hpoq.handler import Function
from hpoq.observability import logs

CALLS, ROUNDS, EVENTS = 300, 5, 1000
PEER = ("moto[server,sqs]==5.2.5", "boto3")
SENT = (
    f'<Message xmlns="http://mns.aliyuncs.com/doc/v1/"><MessageBody>{BODY}</MessageBody></Message>'.encode()
)
REQUEST = Path(__file__).parents[2] / "events/requests/minimal.json"


def protocol(cloud, send):
    """Send, receive and delete as signed requests of SMQ; `send` sends a request and gives its answer's body."""
    cloud.queues.create("orders")

    def call(method, target, body=b""):
        headers = {
            "Date": formatdate(usegmt=True),
            "x-mns-version": VERSION,
            "Content-Type": "text/xml",
            "Host": "localhost",
        }
        digest = signature(cloud.access_key_secret, Request(method, target, tuple(headers.items()), body))
        return send(method, target, {**headers, "Authorization": f"MNS {cloud.access_key_id}:{digest}"}, body)

    def receive(_):
        text = call("GET", "/queues/orders/messages").decode()
        return text.partition("<ReceiptHandle>")[2].partition("</ReceiptHandle>")[0]

    return (
        lambda _: call("POST", "/queues/orders/messages", SENT),
        receive,
        lambda handle: call("DELETE", f"/queues/orders/messages?ReceiptHandle={handle}"),
    )


def raw(stack):
    cloud = stack(alilocal.LocalCloud())
    session = stack(cloud.session())
    return protocol(
        cloud,
        lambda method, target, headers, body: (
            session.request(method, cloud.endpoint + target, data=body or None, headers=headers).content
        ),
    )


def sdk(stack):
    cloud = stack(alilocal.mock_alicloud())
    host = "https://1000000000000001.mns.cn-hangzhou.aliyuncs.com"
    queue = Account(host, cloud.access_key_id, cloud.access_key_secret).get_queue("orders")
    cloud.queues.create("orders")
    return (
        lambda _: queue.send_message(Message(BODY)),
        lambda _: queue.receive_message().receipt_handle,
        queue.delete_message,
    )


def over_http(stack):
    server = stack(alilocal.serve())
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def send(method, target, headers, body):
        connection.request(method, target, body or None, headers)
        return connection.getresponse().read()

    return protocol(server.cloud, send)


def against_peer(python, stack):
    """Milliseconds per call of both sides, and their ratio, for each way in."""
    for mode, make in (("raw", raw), ("sdk", sdk), ("http", over_http)):
        command = [python, Path(__file__).with_name("peer_sqs.py"), mode, str(CALLS), str(ROUNDS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            own = make(stack)
            timed(20, *own)
            pairs = []
            for _ in range(ROUNDS):
                mine = timed(CALLS, *own)
                peer.stdin.write("\n")
                peer.stdin.flush()
                pairs.append((mine, json.loads(peer.stdout.readline())))
        for index, name in enumerate(("send", "receive", "delete")):
            ours = statistics.median(mine[index] for mine, _ in pairs) * 1e3
            theirs = statistics.median(other[index] for _, other in pairs) * 1e3
            ratio = statistics.median(mine[index] / other[index] for mine, other in pairs)
            say(f"{mode:5} {name:8} alilocal {ours:6.3f} ms   moto {theirs:6.3f} ms   ratio {ratio:.2f}")


class Clocked:
    """Counts the seconds that calls of a function take; the CPU of this thread, for others may run beside."""

    def __init__(self, act):
        self.act, self.spent = act, 0.0

    def __call__(self, *args, **kwargs):
        began = time.thread_time()
        try:
            return self.act(*args, **kwargs)
        finally:
            self.spent += time.thread_time() - began


def share(store):
    """The part of a replay's time that is spent in the local cloud: event stream, transport, services."""
    from alilocal.eventstream import EventStream

    with alilocal.LocalCloud() as cloud:
        lay_out(cloud)
        session = cloud.session()
        for adapter in session.adapters.values():
            adapter.send = Clocked(adapter.send)
        function = Function(environment(cloud, cloud.endpoint, store), session=session)
        context = Fc3Context("1-benchmark", FunctionInfo(timeout=300))
        run = Clocked(lambda event: invoke(function.handle, event, context).ok)
        stream = EventStream(
            cloud, queue=QUEUE, invoke=run, batch_size=1, dead_letter_queue=DEAD_LETTER_QUEUE
        )
        body = REQUEST.read_text()
        for _ in range(EVENTS):
            cloud.queues[QUEUE].send(body)
        began = time.thread_time()
        while stream.step():
            pass
        whole = time.thread_time() - began
        function.close()
        calls = sum(adapter.send.spent for adapter in session.adapters.values())
        assert len(cloud.experiments) == EVENTS
        return (whole - run.spent + calls) / whole


def start():
    """Seconds from starting the command to its line of JSON."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "alilocal", "--port", "0"], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        spent = time.perf_counter() - began
        process.terminate()
    return spent


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def peer_python(folder):
    python = Path(folder) / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEER], check=True)
    return python


def main():
    from contextlib import ExitStack

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="VENV", help="keep the peer's venv here")
    options = parser.parse_args()
    logs.configure("CRITICAL", sys.stderr)
    starts = [start() for _ in range(ROUNDS)]
    say(f"start: {statistics.median(starts) * 1e3:.0f} ms to the first line")
    for name, store in (
        ("SQLite", "sqlite:///:memory:"),
        ("Tablestore", "tablestore://localhost/hpoq?instance=local&scheme=http"),
    ):
        shares = [share(store) for _ in range(3)]
        say(
            f"replay of {EVENTS} events, records in {name}: {statistics.median(shares):.0%} of its CPU in alilocal"
        )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        against_peer(peer_python(options.peer or folder), stack.enter_context)


if __name__ == "__main__":
    main()
