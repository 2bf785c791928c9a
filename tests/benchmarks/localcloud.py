"""B7: what the local cloud costs: against moto's SQS call by call, within a replay, and until it answers."""

import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

from harness import Peers, Row, child
from mns.account import Account
from mns.queue import Message
from peer_sqs import BODY, timed

import alilocal
from alilocal.core.http import Request
from alilocal.smq.signature import VERSION, signature
from fcruntime.context import Fc3Context, FunctionInfo
from fcruntime.invoke import invoke
from hpoq.function import Function
from hpoq.observability import logs
from hpoqctl.pipeline import DEAD_LETTER_QUEUE, QUEUE, create_pipeline, make_environment

CALLS, EVENTS = 300, 1000
_WAYS = {"raw": "in-process", "sdk": "in-process by the SDKs", "http": "over HTTP"}
STORES = {
    "SQLite": "sqlite:///:memory:",
    "Tablestore": "tablestore://localhost/hpoq?instance=local&scheme=http",
}
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


def against_peer(python, stack, rounds):
    """Return a row for each call, in-process and over HTTP."""
    for mode, make in (("raw", raw), ("sdk", sdk), ("http", over_http)):
        command = [python, Path(__file__).with_name("peer_sqs.py"), mode, str(CALLS), str(rounds)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            own = make(stack)
            timed(20, *own)
            pairs = []
            for _ in range(rounds):
                mine = timed(CALLS, *own)
                peer.stdin.write("\n")
                peer.stdin.flush()
                pairs.append((mine, json.loads(peer.stdout.readline())))
        for index, name in enumerate(("send", "receive", "delete")):
            ratios = [mine[index] / other[index] for mine, other in pairs]
            low, middle, high = statistics.quantiles(ratios, n=4)
            sides = zip(*pairs, strict=True)
            ours, theirs = (1 / statistics.median(one[index] for one in side) for side in sides)
            note = f"{ours:.0f}/s : {theirs:.0f}/s"
            yield Row("B7", f"time of {name}, {_WAYS[mode]} : moto", middle, low, high, 1.0, note)


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
    """Return the part of a replay's time that is spent in the local cloud: event stream, transport, services."""
    from alilocal.eventstream import EventStream

    with alilocal.LocalCloud() as cloud:
        create_pipeline(cloud)
        session = cloud.session()
        for adapter in session.adapters.values():
            adapter.send = Clocked(adapter.send)
        function = Function(make_environment(cloud, cloud.endpoint, store), session=session)
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


# In a process of its own, for the collector looks through all that was measured before.
_SHARE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import localcloud
from hpoq.observability import logs
logs.configure("CRITICAL", sys.stderr)
print(json.dumps({"share": localcloud.share(sys.argv[2])}))
"""


def start():
    """Return the seconds from starting the command to its line of JSON."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "alilocal", "--port", "0"], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        spent = time.perf_counter() - began
        process.terminate()
    return spent


def measure(peers: Peers, rounds: int) -> Iterator[Row]:
    """Measure the calls in turns with moto, and everything else alone."""
    logs.configure("CRITICAL", sys.stderr)
    rounds = max(3, rounds // 3)
    starts = [start() * 1000 for _ in range(rounds)]
    yield Row("B7", "start of the server until its first line, ms", statistics.median(starts), target=300)
    for name, store in STORES.items():
        shares = [child(sys.executable, _SHARE, str(Path(__file__).parent), store)["share"] for _ in range(3)]
        what = f"share of a replay's CPU, records in {name}"
        yield Row("B7", what, statistics.median(shares), target=0.4)
    with ExitStack() as stack:
        yield from against_peer(peers.venv("moto", *PEER), stack.enter_context, rounds)
